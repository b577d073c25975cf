#!/usr/bin/env python3
"""Tries what an attacker in the query container could do: attack.py PID UID GID

Runs as root on the node: enters the mount namespace of the container's process PID, gives up everything that the
container does not have, and then makes the system calls itself. Prints what should not have worked; exits 1 then.
"""
import ctypes
import errno
import os
import socket
import sys

libc = ctypes.CDLL(None, use_errno=True)
PR_SET_NO_NEW_PRIVS, PR_CAPBSET_DROP, CLONE_NEWNS, CLONE_NEWNET = 38, 24, 0x20000, 0x40000000
TOKENS = "/var/run/secrets/kubernetes.io/serviceaccount/token", "/run/secrets/kubernetes.io/serviceaccount/token"
SHELLS = "/bin/sh", "/bin/bash", "/bin/busybox", "/usr/bin/sh", "/sbin/sh"

pid, uid, gid = (int(word) for word in sys.argv[1:4])
faults = []


def refused(sentence, attempt, *reasons):
    """The attempt must fail with one of the errors."""
    try:
        attempt()
    except OSError as error:
        if error.errno not in reasons:
            faults.append(f"{sentence}: refused, but by {errno.errorcode[error.errno]}")
        return
    faults.append(f"{sentence}: worked")


def call(name, *arguments):
    if getattr(libc, name)(*arguments) != 0:
        raise OSError(ctypes.get_errno(), name)


def create(path):
    os.close(os.open(path, os.O_CREAT | os.O_WRONLY, 0o600))


status = dict(line.split(":\t", 1) for line in open(f"/proc/{pid}/status").read().splitlines() if ":\t" in line)
for name in "CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb":
    if int(status[name], 16):
        faults.append(f"{name} is {status[name]}")
if status["Seccomp"] != "2":
    faults.append(f"seccomp is {status['Seccomp']}, no filter")
if status["NoNewPrivs"] != "1":
    faults.append("privileges can be gained")
if set(status["Uid"].split()) != {str(uid)} or set(status["Gid"].split()) != {str(gid)}:
    faults.append(f"runs as {status['Uid']} {status['Gid']}")
with open(f"/proc/{pid}/environ", "rb") as file:
    for variable in file.read().split(b"\0"):
        if any(word in variable.upper() for word in (b"TOKEN", b"SECRET", b"PASSWORD")):
            faults.append(f"environment has {variable.decode()}")
root = f"/proc/{pid}/root"
programs = []
for folder, folders, names in os.walk(root):
    if folder == root:
        folders[:] = [name for name in folders if name not in ("proc", "sys", "dev")]
    paths = [os.path.join(folder, name) for name in names]
    programs += [path.removeprefix(root) for path in paths if os.lstat(path).st_mode & 0o111]
if sorted(programs) != ["/kube9-operator", "/kube9-query"]:
    faults.append(f"programs in the image: {programs}")

mounts = os.open(f"/proc/{pid}/ns/mnt", os.O_RDONLY)
processes = os.open(f"/proc/{pid}/ns/pid", os.O_RDONLY)
call("setns", mounts, 0)
call("setns", processes, 0)
child = os.fork()  # a process is born into the pid namespace, none moves there
if child:
    _, code = os.waitpid(child, 0)
    sys.exit(1 if code or faults else 0)
for capability in range(64):
    libc.prctl(PR_CAPBSET_DROP, capability, 0, 0, 0)
os.setgroups([gid])
os.setgid(gid)
os.setuid(uid)
libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)

for token in TOKENS:
    refused(f"reading {token}", lambda t=token: open(t).read(), errno.ENOENT, errno.ENOTDIR)
for shell in SHELLS:
    refused(f"opening {shell}", lambda s=shell: os.close(os.open(s, os.O_RDONLY)), errno.ENOENT, errno.ENOTDIR)
refused("reading the recorder's configuration", lambda: open("/etc/kube9/config.yaml").read(), errno.ENOENT)
for path in "/x", "/tmp/x", "/etc/x", "/dev/x":
    refused(f"creating {path}", lambda p=path: create(p), errno.EROFS, errno.EACCES, errno.ENOENT)
refused("creating /data/x", lambda: create("/data/x"), errno.EROFS)
for name in "kube9.db", "kube9.db-wal", "kube9.db-shm":
    refused(f"writing /data/{name}", lambda n=name: os.open(f"/data/{n}", os.O_WRONLY), errno.EROFS, errno.EACCES)
    refused(f"deleting /data/{name}", lambda n=name: os.unlink(f"/data/{n}"), errno.EROFS)
    refused(f"renaming /data/{name}", lambda n=name: os.rename(f"/data/{n}", f"/data/{n}.x"), errno.EROFS)
refused("changing the mode of the database", lambda: os.chmod("/data/kube9.db", 0o666), errno.EROFS, errno.EPERM)
refused("remounting /data", lambda: call("mount", b"none", b"/data", None, 32, None), errno.EPERM)
refused("a mount namespace of its own", lambda: call("unshare", CLONE_NEWNS), errno.EPERM)
refused("a network namespace of its own", lambda: call("unshare", CLONE_NEWNET), errno.EPERM)
refused("becoming root", lambda: os.setuid(0), errno.EPERM)
refused("a raw socket", lambda: socket.socket(socket.AF_INET, socket.SOCK_RAW, 1), errno.EPERM)
try:  # reading must work
    with open("/data/kube9.db", "rb") as file:
        if file.read(15) != b"SQLite format 3":
            faults.append("the database is not the database")
except OSError as error:
    faults.append(f"the database cannot be read: {error}")
others = []
for entry in os.listdir("/proc"):
    if entry.isdigit() and int(entry) not in (1, os.getpid()):
        try:
            command = open(f"/proc/{entry}/cmdline").read()
        except OSError:
            continue
        others.append(command)
        refused(f"the root of process {entry}", lambda e=entry: os.listdir(f"/proc/{e}/root/"), errno.EACCES, errno.EPERM)
if any("kube9-recorder" in command for command in others):
    faults.append(f"sees the recorder's process: {others}")

print("\n".join(faults))
sys.stdout.flush()
os._exit(1 if faults else 0)
