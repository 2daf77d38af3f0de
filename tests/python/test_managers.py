"""Managers: the standard library's, on the contexts of kin."""

import multiprocessing
import os
import signal
from multiprocessing.managers import BaseManager

import pytest

import kin

METHODS = ["fork", "spawn", "forkserver"]


@pytest.fixture(params=METHODS)
def context(request, mp):
    """A context of the standard library, then of kin."""
    kind = kin if "kin" in type(mp).__module__ else multiprocessing
    yield kind.get_context(request.param)
    for child in multiprocessing.active_children():
        child.kill()
        child.join()


def work(shared, items, lock, answers):
    """In a child."""
    with lock:
        shared["sum"] = sum(items)
        items.append("from a child")
    answers.put(dict(shared))


def test_proxies(context):
    with context.Manager() as manager:
        shared, items = manager.dict(a=1), manager.list([1, 2, 3])
        answers, lock = manager.Queue(), manager.Lock()
        child = context.Process(target=work, args=(shared, items, lock, answers))
        child.start()
        child.join()
        assert child.exitcode == 0
        assert answers.get() == {"a": 1, "sum": 6}
        assert list(items) == [1, 2, 3, "from a child"]
        space = manager.Namespace(x=1)
        space.y = space.x + 1
        assert space.y == 2 and manager.Value("i", 5).value == 5
        assert list(manager.Array("i", [1, 2])) == [1, 2]
        event = manager.Event()
        assert not event.wait(0.01)


def put_through(queue, proxy):
    """In a child."""
    queue.put(proxy)


def test_a_proxy_through_a_queue(context):
    with context.Manager() as manager:
        queue = context.Queue()
        items = manager.list("abc")
        child = context.Process(target=put_through, args=(queue, items))
        child.start()
        same = queue.get()
        child.join()
        same.append("d")
        assert list(items) == list("abcd")


def test_its_pool(context):
    with context.Manager() as manager, manager.Pool(2) as pool:
        assert pool.map(abs, [-1, 2, -3]) == [1, 2, 3]


class Counter:
    """Something that a manager of one's own has."""

    def __init__(self):
        self.count = 0

    def add(self, n):
        """One step."""
        self.count += n
        return self.count


class Own(BaseManager):
    """A manager of one's own."""


Own.register("Counter", Counter)


def test_of_ones_own(context):
    with Own(ctx=context) as manager:
        counter = manager.Counter()
        assert counter.add(2) == 2 and counter.add(3) == 5


def test_the_server_was_killed(context):
    manager = context.Manager()
    items = manager.list()
    os.kill(manager._process.pid, signal.SIGKILL)
    manager._process.join()
    with pytest.raises((EOFError, OSError)):
        items.append(1)
    manager.shutdown.cancel()


def test_kins_objects_in_a_manager(only_kin):
    """A lock or a queue of kin goes into a manager's dict and comes out as itself."""
    with only_kin.Manager() as manager:
        lock, queue = only_kin.Lock(), only_kin.Queue()
        shared = manager.dict(lock=lock, queue=queue)
        shared["queue"].put(1)
        with shared["lock"]:
            assert lock.locked()
        assert queue.get(timeout=50) == 1
