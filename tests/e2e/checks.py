"""The checks of the Python scripts: a line each, `ok` or `FAIL`, and what was found instead."""

import sys
from datetime import datetime

failed = 0


def say(text):
    for line in text.rstrip("\n").splitlines():
        print(f"     {line}", flush=True)


def check(what, holds, detail=""):
    global failed
    print(f"{'ok  ' if holds else 'FAIL'} {what}", flush=True)
    if not holds:
        failed += 1
        for line in str(detail).splitlines()[:30]:
            print(f"     | {line[:500]}", flush=True)
    return holds


def end():
    sys.exit(1 if failed else 0)


def seconds_of(text):
    """A time of Kubernetes or kube9, in seconds since 1970."""
    form = "%Y-%m-%dT%H:%M:%S.%f%z" if "." in text else "%Y-%m-%dT%H:%M:%S%z"
    return datetime.strptime(text, form).timestamp()
