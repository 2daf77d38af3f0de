"""Queues: the behaviour that is shared."""

import multiprocessing.connection
import multiprocessing.queues
import pickle
import select
from queue import Empty, Full

import pytest

import kin

KINDS = ["Queue", "JoinableQueue"]


@pytest.mark.parametrize("kind", KINDS)
def test_bounds(mp, kind):
    queue = getattr(mp, kind)(2)
    queue.put(1)
    queue.put(2, True, None)
    assert queue.full()
    for call in (
        lambda: queue.put_nowait(3),
        lambda: queue.put(3, False),
        lambda: queue.put(3, timeout=0.01),
    ):
        with pytest.raises(Full):
            call()
    assert [queue.get(), queue.get(timeout=5)] == [1, 2]
    for call in (queue.get_nowait, lambda: queue.get(False), lambda: queue.get(True, 0.01)):
        with pytest.raises(Empty):
            call()
    assert queue.qsize() == 0 and not queue.full()


@pytest.mark.parametrize("kind", KINDS + ["SimpleQueue"])
def test_order_and_sizes_between_processes(mp, kind):
    queue = getattr(mp, kind)()
    items = [0, None, (1, "two"), {"a": [1.5]}, b"x" * 5000, "y" * 3_000_000, []]

    def child():
        for item in items:
            queue.put(item)

    process = mp.Process(target=child)
    process.start()
    assert [queue.get() for _ in items] == items
    process.join()
    assert process.exitcode == 0 and queue.empty()


def test_joinable(mp):
    queue = mp.JoinableQueue()

    def consumer():
        while queue.get() is not None:
            queue.task_done()
        queue.task_done()

    process = mp.Process(target=consumer)
    process.start()
    for i in range(1, 20):
        queue.put(i)
    queue.put(None)
    queue.join()
    process.join()
    with pytest.raises(ValueError, match="too many times"):
        queue.task_done()


def test_closed(mp):
    queue = mp.Queue()
    queue.close()
    queue.join_thread()
    with pytest.raises(ValueError, match="is closed"):
        queue.put(1)
    with pytest.raises(ValueError, match="is closed"):
        queue.get()
    assert queue.empty()  # nothing was put: as the standard library has it
    queue = mp.Queue()
    queue.put(1)
    queue.close()
    queue.join_thread()
    with pytest.raises(OSError, match="is closed"):
        queue.empty()


def test_closed_simple_queue(mp):
    queue = mp.SimpleQueue()
    queue.close()
    with pytest.raises(OSError, match="is closed"):
        queue.put(1)
    with pytest.raises(OSError, match="is closed"):
        queue.get()


# --- kin alone ------------------------------------------------------------------------------------


def test_put_raises_what_pickling_raises(only_kin):
    queue = only_kin.Queue()
    with pytest.raises((AttributeError, pickle.PicklingError, TypeError)):
        queue.put(lambda: 0)
    assert queue.empty()


def test_an_item_that_cannot_be_loaded_is_gone(only_kin):
    queue = only_kin.Queue()
    for padding in (b"", b"x" * 10_000):
        queue.put(Unloadable(padding))
        queue.put("next")
        with pytest.raises(ZeroDivisionError):
            queue.get()
        assert queue.get() == "next"


class Unloadable:
    """Pickles well, but fails when it is loaded."""

    def __init__(self, padding):
        self.padding = padding

    def __reduce__(self):
        return divide, (1, 0, self.padding)


def divide(a, b, _padding):
    """As a function, so that it is found by name."""
    return a / b


def test_many(only_kin):
    queue = only_kin.Queue()
    assert queue.put_many(range(1000)) == 1000
    got = []
    while len(got) < 1000:
        got += queue.get_many(300)
    assert got == list(range(1000))
    with pytest.raises(Empty):
        queue.get_many(5, timeout=0.01)
    queue.put_many(["short", "long" * 100_000, "short"])
    assert queue.get_many(3) == ["short", "long" * 100_000, "short"]
    with pytest.raises(ValueError):
        queue.get_many(0)


def test_put_many_in_time(only_kin):
    queue = only_kin.Queue(3)
    assert queue.put_many(range(5), timeout=0.01) == 3
    with pytest.raises(Full):
        queue.put_many([1], block=False)


def test_shutdown(only_kin):
    queue = only_kin.Queue()
    queue.put(1)
    assert queue.is_shutdown is False
    queue.shutdown()
    assert queue.is_shutdown is True
    with pytest.raises(kin.ShutDown):
        queue.put(2)
    assert queue.get() == 1
    with pytest.raises(kin.ShutDown):
        queue.get()


def test_shutdown_wakes_who_waits(only_kin):
    queue = only_kin.Queue()

    def child():
        try:
            queue.get()
        except kin.ShutDown:
            raise SystemExit(7) from None

    process = only_kin.Process(target=child)
    process.start()
    queue.shutdown(immediate=True)
    process.join()
    assert process.exitcode == 7


def test_lifo_and_priority(only_kin):
    lifo = only_kin.LifoQueue()
    lifo.put_many([1, 2, 3])
    assert lifo.get_many(3) == [3, 2, 1]
    queue = only_kin.PriorityQueue()
    queue.put((2, "b"))
    queue.put("a", priority=1)
    queue.put((2, "c"))
    queue.put(0)
    assert [queue.get() for _ in range(4)] == [0, "a", (2, "b"), (2, "c")]
    with pytest.raises(TypeError, match="priority"):
        queue.put({})


@pytest.mark.parametrize("kind", ["Queue", "JoinableQueue", "SimpleQueue"])
def test_waiting_for_items_beside_other_things(mp, kind):
    """As programs do, though the name begins with an underscore; libraries ask for the class."""
    queue, (here, there) = getattr(mp, kind)(), mp.Pipe()
    assert isinstance(queue, getattr(multiprocessing.queues, kind))
    wait = multiprocessing.connection.wait
    assert wait([queue._reader, here], 0) == [] and not queue._reader.poll()
    queue.put(1)
    assert wait([queue._reader, here], 30) == [queue._reader] and queue._reader.poll()
    there.send(2)
    assert set(wait([queue._reader, here], 30)) == {queue._reader, here}
    assert select.select([queue._reader.fileno()], [], [], 30)[0] == [queue._reader.fileno()]
    assert queue.get() == 1 and wait([queue._reader, here], 30) == [here]
