"""Locks, semaphores, events, conditions, barriers: the behaviour that is shared."""

import os
import signal
import threading
import time

import pytest


def run(mp, target, *args):
    """Run target in a child; its exit code."""
    child = mp.Process(target=target, args=args)
    child.start()
    child.join()
    return child.exitcode


def test_lock_excludes(mp):
    lock = mp.Lock()
    assert lock.acquire() is True
    assert lock.acquire(False) is False
    assert lock.acquire(timeout=0.01) is False
    assert lock.acquire(True, -1) is False
    assert lock.release() is None
    with lock:
        assert run(mp, lambda: os._exit(lock.acquire(False))) == 0
    assert run(mp, lambda: os._exit(lock.acquire(False) and (lock.release() or 1))) == 1


def test_lock_is_released_by_anybody(mp):
    lock = mp.Lock()
    lock.acquire()
    assert run(mp, lock.release) == 0
    assert lock.acquire(False)


def test_release_of_unlocked(mp):
    with pytest.raises(ValueError, match="released too many times"):
        mp.Lock().release()
    with pytest.raises(AssertionError, match="not owned by thread"):
        mp.RLock().release()


def test_lock_says_who_holds_it(mp):
    lock = mp.Lock()
    assert repr(lock) == "<Lock(owner=None)>"
    with lock:
        assert repr(lock) == "<Lock(owner=MainProcess)>"
    thread = threading.Thread(target=lock.acquire)
    thread.start()
    thread.join()
    assert repr(lock) == "<Lock(owner=SomeOtherThread)>"


def test_rlock_counts(mp):
    lock = mp.RLock()
    for _ in range(3):
        assert lock.acquire()
    assert repr(lock) == "<RLock(MainProcess, 3)>"
    assert run(mp, lambda: os._exit(lock.acquire(False))) == 0
    for _ in range(3):
        lock.release()
    with pytest.raises(AssertionError):
        lock.release()


def test_rlock_belongs_to_a_thread(mp):
    lock, errors = mp.RLock(), []

    def release():
        try:
            lock.release()
        except AssertionError as error:
            errors.append(error)

    with lock:
        thread = threading.Thread(target=release)
        thread.start()
        thread.join()
    assert len(errors) == 1


def test_semaphore(mp):
    semaphore = mp.Semaphore(2)
    assert semaphore.acquire() and semaphore.acquire()
    assert semaphore.acquire(False) is False
    for _ in range(3):
        semaphore.release()
    assert semaphore.get_value() == 3
    assert repr(semaphore) == "<Semaphore(value=3)>"


def test_bounded_semaphore(mp):
    semaphore = mp.BoundedSemaphore(1)
    assert repr(semaphore) == "<BoundedSemaphore(value=1, maxvalue=1)>"
    with pytest.raises(ValueError):
        semaphore.release()


def test_semaphore_of_a_bad_value(mp):
    with pytest.raises(OSError):
        mp.Semaphore(-1)


def test_event(mp):
    event = mp.Event()
    assert event.wait(0.01) is False
    assert event.wait(-1) is False
    child = mp.Process(target=event.set)
    child.start()
    assert event.wait() is True
    child.join()
    event.clear()
    assert not event.is_set()


def test_condition(mp):
    condition, told = mp.Condition(), mp.Semaphore(0)

    def child():
        with condition:
            told.release()
            os._exit(0 if condition.wait(30) else 1)

    with condition:
        assert condition.wait(0.01) is False
        process = mp.Process(target=child)
        process.start()
    told.acquire()
    with condition:
        condition.notify_all()
    process.join()
    assert process.exitcode == 0


def test_condition_without_its_lock(mp):
    condition = mp.Condition()
    with pytest.raises(AssertionError):
        condition.wait()
    with pytest.raises(AssertionError):
        condition.notify()


def test_wait_for(mp):
    condition = mp.Condition(mp.Lock())
    with condition:
        assert condition.wait_for(lambda: 7) == 7
        assert condition.wait_for(lambda: 0, 0.01) == 0


def test_barrier(mp):
    barrier, passed = mp.Barrier(3), mp.Semaphore(0)

    def child():
        barrier.wait()
        passed.release()

    children = [mp.Process(target=child) for _ in range(2)]
    for process in children:
        process.start()
    assert 0 <= barrier.wait() < 3
    for process in children:
        process.join()
    assert passed.get_value() == 2 and not barrier.broken


def test_barrier_breaks(mp):
    barrier = mp.Barrier(2)
    with pytest.raises(threading.BrokenBarrierError):
        barrier.wait(0.01)
    assert barrier.broken
    with pytest.raises(threading.BrokenBarrierError):
        barrier.wait()
    barrier.reset()
    assert not barrier.broken and barrier.n_waiting == 0 and barrier.parties == 2


def test_barrier_action(mp):
    ran = []
    assert mp.Barrier(1, lambda: ran.append(1)).wait() == 0
    assert ran == [1]

    def fail():
        raise ZeroDivisionError

    barrier = mp.Barrier(1, fail)
    with pytest.raises(ZeroDivisionError):
        barrier.wait()
    assert barrier.broken


def blocked_calls(mp):
    """What blocks for ever, by name."""
    lock, semaphore, event = mp.Lock(), mp.Semaphore(0), mp.Event()
    lock.acquire()
    condition, barrier, queue = mp.Condition(), mp.Barrier(2), mp.Queue()
    first, _second = mp.Pipe()
    condition.acquire()
    return {
        "lock": lock.acquire,
        "semaphore": semaphore.acquire,
        "event": event.wait,
        "condition": condition.wait,
        "barrier": barrier.wait,
        "queue": queue.get,
        "pipe": lambda: (first.recv(), _second),
    }


@pytest.mark.parametrize(
    "what", ["lock", "semaphore", "event", "condition", "barrier", "queue", "pipe"]
)
def test_signal_handlers_run_while_blocked(mp, what):
    call, runs = blocked_calls(mp)[what], []

    def handler(*_):
        runs.append(1)
        if len(runs) == 2:
            raise InterruptedError

    before = signal.signal(signal.SIGALRM, handler)
    signal.setitimer(signal.ITIMER_REAL, 0.02, 0.02)
    try:
        with pytest.raises(InterruptedError):
            call()
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert len(runs) >= 2


def test_other_threads_run_while_blocked(mp):
    lock, went_on = mp.Lock(), threading.Event()
    lock.acquire()

    def other():
        time.sleep(0.01)
        went_on.set()
        lock.release()

    thread = threading.Thread(target=other)
    thread.start()
    assert lock.acquire()
    assert went_on.is_set()
    thread.join()
