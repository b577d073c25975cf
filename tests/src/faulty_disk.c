// A disk with faults: preloaded into a recorder, it makes system calls on the database files fail on command.
// A page of memory that the test shares as a file has the faults; see faulty_disk.rs, which has the same layout.
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/types.h>
#include <unistd.h>

enum { DATABASE = 1, LOG = 2, INDEX = 4 };

struct control {
  uint8_t files;        // which files it is about: bits of the above
  uint8_t write, read, sync, truncate, open; // errno of each call; 0: it works
  uint8_t half;         // a write takes only half before it fails
  uint8_t unused;
  uint32_t hits;        // calls that were made to fail
};

static volatile struct control *control;
static __thread int second_half;

__attribute__((constructor)) static void begin(void) {
  const char *path = getenv("KUBE9_FAULTY_DISK");
  int fd = path ? open(path, O_RDWR | O_CLOEXEC) : -1;
  if (fd < 0) return;
  void *page = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  close(fd);
  if (page != MAP_FAILED) control = page;
}

static int of_path(const char *path) {
  const char *name = strrchr(path, '/');
  name = name ? name + 1 : path;
  if (!strcmp(name, "kube9.db")) return DATABASE;
  if (!strcmp(name, "kube9.db-wal")) return LOG;
  if (!strcmp(name, "kube9.db-shm")) return INDEX;
  return 0;
}

static int of_fd(int fd) {
  char link[64], path[4096];
  snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
  ssize_t length = readlink(link, path, sizeof path - 1);
  if (length < 0) return 0;
  path[length] = 0;
  return of_path(path);
}

// Whether a call with this fault on this file is to fail; sets errno.
static int fails(uint8_t error, int file) {
  if (!error || !(file & control->files)) return 0;
  __atomic_add_fetch(&control->hits, 1, __ATOMIC_RELAXED);
  errno = error;
  return 1;
}

#define NEXT(name) \
  static __typeof__(&name) next; \
  if (!next) next = (__typeof__(&name))dlsym(RTLD_NEXT, #name)
#define ARMED(what) (control && control->what)

// Half of a write goes through, the next call fails: what a disk does that fills up, or is torn out.
static size_t part(int fd, size_t bytes) {
  if (!control->half || bytes < 2 || !(of_fd(fd) & control->files)) return 0;
  second_half = !second_half;
  return second_half ? bytes / 2 : 0;
}

ssize_t write(int fd, const void *from, size_t bytes) {
  NEXT(write);
  if (ARMED(write)) {
    size_t half = part(fd, bytes);
    if (half) return next(fd, from, half);
    if (fails(control->write, of_fd(fd))) return -1;
  }
  return next(fd, from, bytes);
}

#define POSITIONED_WRITE(name, offset) \
  ssize_t name(int fd, const void *from, size_t bytes, offset at) { \
    NEXT(name); \
    if (ARMED(write)) { \
      size_t half = part(fd, bytes); \
      if (half) return next(fd, from, half, at); \
      if (fails(control->write, of_fd(fd))) return -1; \
    } \
    return next(fd, from, bytes, at); \
  }
POSITIONED_WRITE(pwrite, off_t)
POSITIONED_WRITE(pwrite64, off64_t)

ssize_t read(int fd, void *to, size_t bytes) {
  NEXT(read);
  if (ARMED(read) && fails(control->read, of_fd(fd))) return -1;
  return next(fd, to, bytes);
}

#define POSITIONED_READ(name, offset) \
  ssize_t name(int fd, void *to, size_t bytes, offset at) { \
    NEXT(name); \
    if (ARMED(read) && fails(control->read, of_fd(fd))) return -1; \
    return next(fd, to, bytes, at); \
  }
POSITIONED_READ(pread, off_t)
POSITIONED_READ(pread64, off64_t)

#define SYNC(name) \
  int name(int fd) { \
    NEXT(name); \
    if (ARMED(sync) && fails(control->sync, of_fd(fd))) return -1; \
    return next(fd); \
  }
SYNC(fsync)
SYNC(fdatasync)

#define TRUNCATE(name, offset) \
  int name(int fd, offset length) { \
    NEXT(name); \
    if (ARMED(truncate) && fails(control->truncate, of_fd(fd))) return -1; \
    return next(fd, length); \
  }
TRUNCATE(ftruncate, off_t)
TRUNCATE(ftruncate64, off64_t)

#define OPEN(name) \
  int name(const char *path, int flags, ...) { \
    NEXT(name); \
    mode_t mode = 0; \
    if (flags & (O_CREAT | O_TMPFILE)) { \
      __builtin_va_list more; \
      __builtin_va_start(more, flags); \
      mode = __builtin_va_arg(more, mode_t); \
      __builtin_va_end(more); \
    } \
    if (ARMED(open) && fails(control->open, of_path(path))) return -1; \
    return next(path, flags, mode); \
  }
OPEN(open)
OPEN(open64)
