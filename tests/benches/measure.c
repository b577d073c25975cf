/* Runs a command N times and prints, for each run: microseconds, peak resident KiB, exit code, CPU microseconds.
 *
 * In C and linked statically because the kernel charges a child with its parent's peak until the exec: a small parent
 * is the only way to see a small child's own peak. */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1e6 + t.tv_nsec / 1e3;
}

int main(int argc, char **argv) {
    if (argc < 3) return 2;
    int sink = open("/dev/null", O_WRONLY);
    for (int n = atoi(argv[1]); n > 0; n--) {
        double begun = now();
        pid_t child = fork();
        if (child < 0) return 1;
        if (child == 0) {
            dup2(sink, 1);
            execv(argv[2], argv + 2);
            _exit(127);
        }
        int status;
        struct rusage used;
        if (wait4(child, &status, 0, &used) < 0) return 1;
        double took = now() - begun;
        double cpu = (used.ru_utime.tv_sec + used.ru_stime.tv_sec) * 1e6 + used.ru_utime.tv_usec + used.ru_stime.tv_usec;
        printf("%.0f %ld %d %.0f\n", took, used.ru_maxrss, WIFEXITED(status) ? WEXITSTATUS(status) : 255, cpu);
    }
    return 0;
}
