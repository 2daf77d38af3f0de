"""CPython's own test_multiprocessing_fork, _spawn, _forkserver, with kin in the place of multiprocessing.

    python run.py [--managers] [--standard] [--text] [--jobs=N] [--fork] [--spawn] [--forkserver] [CLASS]...

Runs the classes for processes, or those for managers, each in an interpreter of its own and N of
them at once, and prints the counts. Without a start method: all three. What EXPECTED names must fail, all else must pass.
--standard: with the standard library, to compare.
"""

import argparse
import concurrent.futures
import importlib.util
import json
import os
import select
import signal
import subprocess
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
METHODS = ("fork", "spawn", "forkserver")
ALL = METHODS

_INSIDE = "looks at semaphores inside the standard library's Condition"
_ENDED = "wants a lock to stay with a process that has ended, if it has; here it is free again"

# Test: the start methods for which it fails, and why that is right.
EXPECTED = {
    "TestCondition.test_notify": (ALL, _INSIDE),
    "TestCondition.test_notify_n": (ALL, _INSIDE),
    "TestCondition.test_notify_all": (ALL, _INSIDE),
    "TestQueue.test_queue_feeder_donot_stop_onexc": (
        ALL, "wants the feeder thread to print what pickling raises; here put raises it"
    ),
    "TestConnection.test_missing_fd_transfer": (
        ALL, "writes to the socket of a connection; kin's has none"
    ),
    "TestResourceTracker.test_resource_tracker_sigkill": (
        ALL, "wants a semaphore to start the resource tracker; kin's objects need none"
    ),
    "TestStartMethod.test_mixed_startmethod": (
        ("spawn",), "wants locks of one start method to be refused by another; here all are good"
    ),
    "TestIgnoreEINTR.test_ignore": (
        ("forkserver",), "wants a long message to block; here one always fits into an empty pipe"
    ),
    "TestLock.test_repr_rlock": (
        ALL, "wants a lock to stay with a thread that has ended; here it is free again"
    ),
    "TestLock.test_lock_locked_2processes": (ALL, _ENDED),
    "TestLock.test_rlock_locked_2processes": (ALL, _ENDED),
    "TestSharedMemory.test_shared_memory_name_with_embedded_null": (
        ALL, "changes the name inside an object; here unlink does not look at it"
    ),
}
if sys.version_info >= (3, 13):
    EXPECTED["TestSharedMemory.test_shared_memory_tracking"] = EXPECTED[
        "TestSharedMemory.test_shared_memory_untracking"
    ] = (ALL, "wants the memory in /dev/shm, for another program with the standard library")
if sys.version_info >= (3, 14):
    EXPECTED["TestStartMethod.test_get_all_start_methods"] = (
        ALL, "wants forkserver to be the usual start method; here that is fork in every version"
    )
# It depends on how quick a child is; on how new the tests are.
EITHER = {
    "TestIgnoreEINTR.test_ignore", "TestLock.test_repr_rlock",
    "TestLock.test_lock_locked_2processes", "TestLock.test_rlock_locked_2processes",
    "TestSharedMemory.test_shared_memory_name_with_embedded_null",
}

# These wait for what does not come.
HANG = ("test_missing_fd_transfer",)

# Each class in its own interpreter: install first, then let the tests import multiprocessing.
RUN = """
import json, signal, sys, unittest
signal.signal(signal.SIGINT, signal.default_int_handler)  # also if run in the background
sys.path.insert(0, {here!r})
if {use_kin}:
    import kin
    kin.install()
import conformance_{method} as conformance
space = vars(conformance)
space.get("setUpModule", lambda: None)()
if {name!r} == "?":
    print(json.dumps([n for n, c in space.items() if isinstance(c, type)
          and issubclass(c, unittest.TestCase)
          and (n.startswith("WithManager") if {managers} else
               not n.startswith(("WithManager", "WithThreads")))]))
    sys.exit()

class Result(unittest.TextTestResult):
    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.passed = []

    def addSuccess(self, test):
        super().addSuccess(test)
        self.passed.append(test)

def late(*_):
    raise TimeoutError("its time is over")
signal.signal(signal.SIGALRM, late)
run = unittest.TestCase.run
def run_in_time(self, *args):
    signal.alarm(10 if self._testMethodName in {hang!r} else 90)
    try:
        return run(self, *args)
    finally:
        signal.alarm(0)
unittest.TestCase.run = run_in_time
suite = unittest.defaultTestLoader.loadTestsFromTestCase(space[{name!r}])
result = unittest.TextTestRunner(verbosity=2, resultclass=Result).run(suite)
def names(tests):
    return sorted(set(str(t.id()).split(".", 1)[-1].split(" ")[0] for t in tests))
failed = [t for t, _ in result.failures + result.errors] + result.unexpectedSuccesses
with open(sys.argv[1], "w") as file:
    json.dump([names(result.passed + [t for t, _ in result.expectedFailures]),
               names(t for t, _ in result.skipped), names(failed)], file)
space.get("tearDownModule", lambda: None)()
"""


def run_class(name, use_kin, method, limit=300):
    """Names of the tests that passed, were skipped, and failed; what it printed; its seconds."""
    code = RUN.format(name=name, use_kin=use_kin, method=method, here=HERE, hang=HANG, managers=False)
    start = time.monotonic()
    with open(os.memfd_create("report"), "r+b") as report, open(os.memfd_create("said"), "r+b") as said:
        child = subprocess.Popen(
            [sys.executable, "-W", "ignore", "-c", code, f"/proc/self/fd/{report.fileno()}"],
            stdin=subprocess.DEVNULL, stdout=said, stderr=said,
            pass_fds=[report.fileno()], start_new_session=True,
        )
        pidfd = os.pidfd_open(child.pid)
        is_over = select.select([pidfd], [], [], limit)[0]
        os.killpg(child.pid, signal.SIGKILL)  # and what tests that failed have left
        child.wait()  # only now: until then nobody else has that number
        os.close(pidfd)
        said.seek(0)
        text, found = said.read() + (b"" if is_over else b"\nHANGS"), report.read()
    text = text.decode(errors="replace")
    passed, skipped, failed = json.loads(found) if found else ([], [], [f"{name}.NO_REPORT"])
    return passed, skipped, failed, text, time.monotonic() - start


def all_classes(method, managers):
    """The names of the classes: those for managers, or else those for processes or no kind."""
    code = RUN.format(name="?", use_kin=False, method=method, here=HERE, hang=HANG, managers=managers)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


def is_expected(test, method):
    """Whether it may or must fail with that start method."""
    test = test.replace("WithProcesses", "", 1)
    if method not in EXPECTED.get(test, ((),))[0]:
        return ""
    return "may" if test in EITHER else "must"


def main():
    """Run them and count."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--managers", action="store_true")
    parser.add_argument("--standard", action="store_true")
    parser.add_argument("--text", action="store_true")
    parser.add_argument("--jobs", type=int, default=3)
    for method in METHODS:
        parser.add_argument("--" + method, action="append_const", dest="methods", const=method)
    parser.add_argument("classes", nargs="*", metavar="CLASS")
    asked = parser.parse_args()
    if importlib.util.find_spec("test._test_multiprocessing") is None:
        print("this interpreter has no test package: install libpython3-testsuite", file=sys.stderr)
        return 77
    work = [
        (name, not asked.standard, method)
        for method in asked.methods or METHODS
        for name in asked.classes or all_classes(method, asked.managers)
    ]
    passed = skipped = expected = 0
    wrong = []
    with concurrent.futures.ThreadPoolExecutor(asked.jobs) as pool:
        for (name, use_kin, method), found in zip(work, pool.map(run_class, *zip(*work))):
            good, left, bad, text, seconds = found
            known = [t for t in bad if use_kin and is_expected(t, method)]
            failed = [f"{t} FAILED" for t in bad if t not in known]
            failed += [f"{t} PASSED, but is listed" for t in good
                       if use_kin and is_expected(t, method) == "must"]
            passed += len(good)
            skipped += len(left)
            expected += len(known)
            wrong += [f"{method}: {line}" for line in failed]
            print(f"{method} {name}: {len(good)} passed, {len(left)} skipped, {len(known)} failed as"
                  f" listed, {len(failed)} wrong ({seconds:.1f} s)", flush=True)
            if failed or asked.text:
                print(text, flush=True)
    for line in wrong:
        print("wrong:", line)
    print(f"in all: {passed} passed, {skipped} skipped, {expected} failed as listed, {len(wrong)} wrong")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
