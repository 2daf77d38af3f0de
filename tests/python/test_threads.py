"""kin.queue and kin.threading: the names of the standard library, between threads and processes."""

import queue
import threading
import time

import pytest

import kin
import kin.queue
import kin.threading


@pytest.fixture(params=["queue", "kin.queue"])
def queues(request):
    """One implementation after the other."""
    return queue if request.param == "queue" else kin.queue


@pytest.fixture(params=["threading", "kin.threading"])
def threads(request):
    """One implementation after the other."""
    return threading if request.param == "threading" else kin.threading


def in_thread(function, *args):
    """What it returns, run by another thread."""
    results = []
    thread = threading.Thread(target=lambda: results.append(function(*args)))
    thread.start()
    thread.join(50)
    return results[0]


def test_queue(queues):
    items = queues.Queue(2)
    assert items.maxsize == 2 and items.empty()
    items.put(1)
    items.put_nowait("two")
    assert items.full() and items.qsize() == 2 and items.unfinished_tasks == 2
    with pytest.raises(queues.Full):
        items.put(3, timeout=0.01)
    with pytest.raises(ValueError):
        items.put(3, timeout=-1)
    assert in_thread(items.get) == 1 and items.get(block=False) == "two"
    with pytest.raises(queues.Empty):
        items.get_nowait()
    with pytest.raises(ValueError):
        items.get(timeout=-1)
    items.task_done()
    items.task_done()
    items.join()
    with pytest.raises(ValueError):
        items.task_done()


@pytest.mark.parametrize("kind, expected", [("LifoQueue", [2, 3, 1]), ("PriorityQueue", [1, 2, 3])])
def test_orders(queues, kind, expected):
    items = getattr(queues, kind)()
    for n in (1, 3, 2):
        items.put(n)
    assert [items.get() for _ in range(3)] == expected


def test_simple_queue(queues):
    items = queues.SimpleQueue()
    items.put(1, block=False, timeout=None)
    items.put_nowait(2)
    assert items.qsize() == 2
    assert in_thread(items.get) == 1 and items.get_nowait() == 2
    with pytest.raises(queues.Empty):
        items.get(timeout=0.01)


def test_queue_between_processes(only_kin):
    items = kin.queue.Queue()
    child = only_kin.Process(target=items.put, args=("from a child",))
    child.start()
    assert items.get(timeout=50) == "from a child"
    child.join()
    items.shutdown()
    with pytest.raises(kin.queue.ShutDown):
        items.put(1)


def test_lock(threads):
    lock = threads.Lock()
    assert lock.acquire(blocking=True, timeout=1) and not in_thread(lock.acquire, False)
    assert "locked" in repr(lock)
    lock.release()
    with pytest.raises(RuntimeError):
        lock.release()
    with lock:
        assert lock.locked()
    for arguments in ((False, 1), (True, -2)):
        with pytest.raises(ValueError):
            lock.acquire(*arguments)
    with pytest.raises(OverflowError):
        lock.acquire(timeout=threads.TIMEOUT_MAX * 2)


def test_rlock(threads):
    lock = threads.RLock()
    with lock, lock:
        assert not in_thread(lock.acquire, False)
    assert in_thread(lambda: (lock.acquire(False), lock.release())) == (True, None)
    with pytest.raises(RuntimeError):
        lock.release()


def test_condition(threads):
    condition, told = threads.Condition(threads.Lock()), []

    def wait():
        with condition:
            while not told:
                condition.wait(50)
        return "awake"

    with pytest.raises(RuntimeError):
        condition.wait()
    with pytest.raises(RuntimeError):
        condition.notify_all()

    def tell():
        time.sleep(0.01)
        with condition:
            told.append(1)
            condition.notify()

    thread = threading.Thread(target=tell)
    thread.start()
    assert wait() == "awake"
    thread.join()
    with condition:
        assert not condition.wait(0.01) and condition.wait_for(lambda: True)


def test_semaphores(threads):
    semaphore, bounded = threads.Semaphore(0), threads.BoundedSemaphore(2)
    semaphore.release(3)
    assert semaphore.acquire() and semaphore.acquire(timeout=1) and semaphore.acquire(False)
    assert not semaphore.acquire(timeout=0.01)
    with bounded, pytest.raises(ValueError):
        bounded.release(2)  # none of them
    assert bounded.acquire(False) and bounded.acquire(False) and not bounded.acquire(False)
    for call in (lambda: threads.Semaphore(-1), lambda: semaphore.release(0),
                 lambda: semaphore.acquire(False, 1)):
        with pytest.raises(ValueError):
            call()


def test_event_and_barrier(threads):
    event, barrier = threads.Event(), threads.Barrier(2, timeout=50)
    assert not event.wait(0.01)
    thread = threading.Thread(target=lambda: (event.set(), barrier.wait()))
    thread.start()
    assert event.wait(50) and barrier.wait() in (0, 1)
    thread.join()
    barrier.abort()
    with pytest.raises(threads.BrokenBarrierError):
        barrier.wait()
    assert "Event" in repr(event) and "Barrier" in repr(barrier)


def test_all_names():
    assert set(threading.__all__) <= set(dir(kin.threading))
    assert kin.threading.Thread is threading.Thread
    assert kin.threading.main_thread() is threading.main_thread()
    assert kin.threading._DummyThread is threading._DummyThread
    with pytest.raises(AttributeError):
        kin.threading.no_such_name


def test_lock_between_processes(only_kin):
    lock = kin.threading.Lock()

    def die_holding():
        lock.acquire()

    child = only_kin.Process(target=die_holding)
    child.start()
    child.join()
    assert lock.acquire(timeout=50) and lock.abandoned == 1
