"""Arguments: by name, of a wrong type, out of range. What both answer is shown to be the same."""

import errno
import multiprocessing.shared_memory

import pytest

import kin
import kin.shared_memory


def test_by_name(mp):
    queue, simple, (a, b) = mp.Queue(), mp.SimpleQueue(), mp.Pipe()
    queue.put(obj=1)
    queue.put_nowait(obj=2)
    queue.put(3, timeout=None, block=True)
    assert [queue.get(block=True, timeout=30) for _ in range(3)] == [1, 2, 3]
    simple.put(obj=4)
    assert simple.get() == 4
    a.send(obj=5)
    assert b.recv() == 5


@pytest.mark.parametrize("call", [
    lambda mp: mp.Queue().put(),
    lambda mp: mp.Queue().put(1, obj=2),
    lambda mp: mp.Queue().put(item=1),
    lambda mp: mp.Queue().put(1, True, None, None),
    lambda mp: mp.Queue().get(blocking=False),
    lambda mp: mp.Pipe()[0].send(),
    lambda mp: mp.Pipe()[0].send(1, 2),
    lambda mp: mp.Pipe()[0].send(object=1),
    lambda mp: mp.Queue().get(False, "soon"),
    lambda mp: mp.Queue(1).put(1, False, "soon"),
    lambda mp: mp.Lock().acquire(False, "soon"),
    lambda mp: mp.RLock().acquire(False, "soon"),
    lambda mp: mp.Semaphore().acquire(False, "soon"),
])
def test_a_type_error(mp, call):
    with pytest.raises(TypeError):
        call(mp)


def test_names_of_the_module_queue(only_kin):
    from kin.queue import Queue

    queue = Queue()
    queue.put(item=1)
    queue.put_nowait(item=2)
    assert [queue.get(), queue.get()] == [1, 2]


def test_more_than_there_can_be(mp):
    for make in (lambda: mp.RawArray("i", 1 << 62), lambda: mp.Array("d", 1 << 61)):
        with pytest.raises(OverflowError):
            make()
    for kind in (mp.Semaphore, mp.BoundedSemaphore):
        with pytest.raises(OverflowError):
            kind(1 << 31)
        with pytest.raises(OSError):
            kind(-1)


def memory_of(mp):
    """SharedMemory of that implementation."""
    if type(mp).__module__.startswith("kin"):
        return kin.shared_memory.SharedMemory
    return multiprocessing.shared_memory.SharedMemory


def test_names_of_memory(mp):
    for name in (5, b"name"):
        with pytest.raises(TypeError):
            memory_of(mp)(name)
        with pytest.raises(TypeError):
            memory_of(mp)(name, create=True, size=5)
    with pytest.raises(OSError) as caught:
        memory_of(mp)("", create=True, size=5)
    assert caught.value.errno == errno.EINVAL
