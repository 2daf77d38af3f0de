"""What the tests of example programs have in common: checks that are counted, and what is left."""

import ctypes
import os

PR_SET_CHILD_SUBREAPER = 36

passed = failed = 0


def check(name, good, detail=""):
    global passed, failed
    if good:
        passed += 1
    else:
        failed += 1
        print(f"FAILED: {name} {detail}", flush=True)


def children(pid):
    """The processes that pid has started and that still exist."""
    found = []
    try:
        for task in os.listdir(f"/proc/{pid}/task"):
            with open(f"/proc/{pid}/task/{task}/children") as file:
                found += [int(child) for child in file.read().split()]
    except (FileNotFoundError, ProcessLookupError):
        pass
    return found


def leftovers():
    """What earlier runs left behind: orphans come to this process, which is their subreaper; in
    /dev/shm, only what could be kin's, for other programs come and go there, too."""
    named = [name for name in os.listdir("/dev/shm") if name.removeprefix("sem.").startswith("kin")]
    return children(os.getpid()), sorted(named)


def reap_orphans():
    """One that has ended, of those that came to this process."""
    try:
        os.waitpid(-1, os.WNOHANG)
    except ChildProcessError:
        pass


def without_leak_check():
    """At exit the address sanitizer looks for leaks in a child; it hangs when that is killed."""
    known = os.environ.get("ASAN_OPTIONS", "")
    return {**os.environ, "ASAN_OPTIONS": f"{known}:detect_leaks=0"}


def run_all(tests, only):
    """Run those with this in their name. The exit status."""
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    for test in tests:
        if only in test.__name__:
            test()
    print(f"{passed} passed, {failed} failed")
    return 1 if failed or not passed else 0
