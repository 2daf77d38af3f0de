"""CPython's own test_queue and the lock tests of test_threading, with kin.queue and kin.threading.

    python threads.py [--text] [CLASS]...

Each class runs in an interpreter of its own. What is known to fail is listed with its reason; ends
with 1 if anything else fails, or if something of the list passes.
"""

import os
import re
import subprocess
import sys

QUEUES = ["QueueTest", "LifoQueueTest", "PriorityQueueTest", "FailingQueueTest", "SimpleQueueTest"]
LOCKS = ["LockTests", "RLockTests", "EventTests", "ConditionAsRLockTests", "ConditionTests",
         "SemaphoreTests", "BoundedSemaphoreTests", "BarrierTests"]

FIXED = "makes maxsize of a queue smaller: here it is fixed"
FORK = "_at_fork_reinit is inside the standard library; a lock of kin is shared with the child"
KNOWN = {
    "FailingQueueTest.test_failing_queue": "overrides _put and _get, which are inside the class",
    "QueueTest.test_shrinking_queue": FIXED,
    "LifoQueueTest.test_shrinking_queue": FIXED,
    "PriorityQueueTest.test_shrinking_queue": FIXED,
    "SimpleQueueTest.test_references": "puts objects of a local class: items must be picklable",
    "LockTests.test_at_fork_reinit": FORK,
    "EventTests.test_at_fork_reinit": "looks at _cond, a condition inside an Event",
}

RUN = """
import signal, sys, unittest
import kin.queue, kin.threading
name = {name!r}
if name in {locks!r}:
    from test import lock_tests, test_threading
    lock_tests.threading = kin.threading
    base = getattr(lock_tests, "RLockTests" if name == "ConditionAsRLockTests" else name)
    kind = dict(LockTests="Lock", RLockTests="RLock", EventTests="Event", ConditionTests="Condition",
                ConditionAsRLockTests="Condition", SemaphoreTests="Semaphore",
                BoundedSemaphoreTests="BoundedSemaphore", BarrierTests="Barrier")[name]
    factory = staticmethod(getattr(kin.threading, kind))
    case = type(name, (base,), dict.fromkeys(
        ["locktype", "eventtype", "condtype", "semtype", "barriertype"], factory))
    if name == "ConditionAsRLockTests":  # as test_threading: a condition has no such methods
        case.test_recursion_count = case.test__is_owned = case.test_release_save_unacquired = (
            unittest.skip("Condition has no such method")(lambda self: None))
else:
    from test import test_queue
    base = getattr(test_queue, "BaseSimpleQueueTest" if name == "SimpleQueueTest" else name)
    case = type(name, (base, unittest.TestCase), dict(queue=kin.queue))
    if name == "SimpleQueueTest":
        case.type2test = kin.queue.SimpleQueue
def late(*_):
    raise TimeoutError("a minute is over")
signal.signal(signal.SIGALRM, late)
case.run = lambda self, *args: (signal.alarm(60), super(case, self).run(*args), signal.alarm(0))[1]
result = unittest.TextTestRunner(verbosity=2).run(unittest.defaultTestLoader.loadTestsFromTestCase(case))
for test, _ in result.failures + result.errors:
    print("FAILED", name + "." + test.id().split(".")[-1])
print("RAN", result.testsRun, len(result.skipped))
"""


def run_class(name, timeout=300):
    """How many ran and were skipped, the names of those that failed, and the text."""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", RUN.format(name=name, locks=LOCKS)],
        capture_output=True, text=True, timeout=timeout, check=False, env={**os.environ},
    )
    counts = re.search(r"^RAN (\d+) (\d+)$", done.stdout, re.M)
    failed = re.findall(r"^FAILED (\S+)$", done.stdout, re.M)
    if counts is None:
        return 0, 0, [f"{name}: did not run"], done.stderr
    return int(counts[1]), int(counts[2]), failed, done.stderr


def main():
    """Run them and count."""
    names = [a for a in sys.argv[1:] if not a.startswith("-")] or QUEUES + LOCKS
    ran = skipped = 0
    failed = []
    for name in names:
        count, skips, bad, text = run_class(name)
        ran, skipped, failed = ran + count, skipped + skips, failed + bad
        print(f"{name}: {count - skips - len(bad)} passed, {skips} skipped, {len(bad)} failed", flush=True)
        if "--text" in sys.argv:
            print(text)
    unknown = [name for name in failed if name not in KNOWN]
    better = [k for k in KNOWN if k.split(".")[0] in names and k not in failed]
    for name in failed:
        print(f"  {name}: {KNOWN.get(name, 'NOT KNOWN TO FAIL')}")
    for name in better:
        print(f"  {name} passes and is listed as failing")
    print(f"in all: {ran - skipped - len(failed)} passed, {skipped} skipped, {len(failed)} failed")
    return 1 if unknown or better else 0


if __name__ == "__main__":
    sys.exit(main())
