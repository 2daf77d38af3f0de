"""Items with long buffers: copied once on their way in, and not on their way out."""

import asyncio
import gc
import os
import pickle
import signal
import sys
import threading

import pytest

import kin
from kin import queues

METHODS = ["fork", "spawn", "forkserver"]


class Blob:
    """Something that gives pickle its buffer, as arrays of numpy do."""

    def __init__(self, data):
        self.data = data

    def __reduce_ex__(self, protocol):
        return Blob, (pickle.PickleBuffer(self.data) if protocol >= 5 else bytes(self.data),)


def used():
    """Bytes of the family's arena that are in use."""
    return kin._kin.used_bytes()


@pytest.mark.parametrize("size", [10, 32767, 32768, 40000, 1_000_000, 30_000_000])
@pytest.mark.parametrize("kind", ["Queue", "JoinableQueue", "SimpleQueue", "LifoQueue", "PriorityQueue"])
def test_each_length_and_queue(only_kin, kind, size):
    queue = getattr(only_kin, kind)()
    data = bytearray(os.urandom(1000) * (size // 1000 + 1))[:size]
    item = {"name": "x", "blob": Blob(data), "more": [Blob(data), Blob(b"short")]}
    if kind == "PriorityQueue":
        queue.put(item, priority=1)
    else:
        queue.put(item)
    got = queue.get()
    for blob in (got["blob"], got["more"][0]):
        assert bytes(blob.data) == data
    assert bytes(got["more"][1].data) == b"short" and got["name"] == "x"


@pytest.mark.parametrize("kind", ["Queue", "LifoQueue", "PriorityQueue"])
def test_every_way_in_copies_once(only_kin, kind):
    queue, before = getattr(only_kin, kind)(3), used()
    blobs = [Blob(bytearray(bytes([n]) * 3_000_000)) for n in range(3)]
    assert queue.put_many([(0, "short"), (1, blobs[0]), (2, b"y" * 50_000)]) == 3
    got = [queue.get() for _ in range(3)]
    assert sorted(item[0] for item in got) == [0, 1, 2]
    blob = next(item[1] for item in got if item[0] == 1)
    assert isinstance(blob.data.obj, kin._kin.Message) and blob.data == blobs[0].data

    async def put_all():
        for n, blob in enumerate(blobs):
            await queue.aput((n, blob))
        late = asyncio.ensure_future(queue.aput((3, blobs[0])))
        await asyncio.sleep(0)
        assert not late.done()  # it is full
        items = [await queue.aget() for _ in range(3)]
        await late
        return [*items, queue.get()]

    for n, blob in asyncio.run(put_all()):
        assert isinstance(blob.data.obj, kin._kin.Message) and blob.data == blobs[n % 3].data
    del blob, got
    for _ in range(3):
        queue.put((0, blobs[0]))
    with pytest.raises(queues.Full):
        queue.put((0, blobs[0]), False)
    with pytest.raises(queues.Full):
        queue.put_many([(0, blobs[0])], timeout=0.01)
    queue.shutdown()
    with pytest.raises(kin.ShutDown):
        queue.put((0, blobs[0]), False)
    assert len([queue.get() for _ in range(3)]) == 3
    assert used() - before < 1_000_000


def test_raw_items_are_bytes_alone(only_kin):
    queue = only_kin.Queue(raw=True)
    for wrong in ((b"x", [pickle.PickleBuffer(b"y")]), (1, 2), ()):
        with pytest.raises(TypeError):
            queue.put_many([wrong])
    assert queue.empty()


def test_it_lies_in_shared_memory(only_kin):
    queue = only_kin.Queue()
    queue.put(Blob(bytearray(b"x" * 100_000)))
    got = queue.get().data
    assert isinstance(got, memoryview) and isinstance(got.obj, kin._kin.Message)
    assert not got.readonly
    got[0] = 7
    assert got[0] == 7 and queue.empty()


def test_threads_that_pickle_at_once(only_kin):
    """None of them finds its buffers in the pickle, or another one's."""
    queue, ready = only_kin.Queue(), threading.Barrier(4)

    def put(me):
        ready.wait()
        for n in range(50):
            queue.put((me, n, Blob(bytearray([me]) * 40_000), Blob(bytearray([n]) * 50_000)))

    threads = [threading.Thread(target=put, args=(me,)) for me in range(4)]
    for thread in threads:
        thread.start()
    for _ in range(200):
        me, n, mine, blob = queue.get(timeout=50)
        assert isinstance(mine.data.obj, kin._kin.Message)
        assert bytes(mine.data) == bytes([me]) * 40_000
        assert bytes(blob.data) == bytes([n]) * 50_000
        del mine, blob
    for thread in threads:
        thread.join()


class Puts:
    """Puts something else while it is pickled."""

    def __init__(self, queue):
        self.queue = queue

    def __reduce_ex__(self, protocol):
        self.queue.put(Blob(bytearray(b"i" * 60_000)))
        return str, ("outer",)


def test_an_item_that_puts_while_it_is_pickled(only_kin):
    queue, inside = only_kin.Queue(), only_kin.Queue()
    queue.put((Blob(bytearray(b"a" * 70_000)), Puts(inside), Blob(bytearray(b"b" * 80_000))))
    before, said, behind = queue.get()
    inner = inside.get()
    assert said == "outer"
    for blob, data in ((before, b"a" * 70_000), (inner, b"i" * 60_000), (behind, b"b" * 80_000)):
        assert isinstance(blob.data.obj, kin._kin.Message) and bytes(blob.data) == data


def test_read_only_stays_so(only_kin):
    queue = only_kin.Queue()
    queue.put(Blob(b"x" * 100_000))
    with pytest.raises(TypeError):
        queue.get().data[0] = 1


def test_memory_comes_back(only_kin):
    queue, blob = only_kin.Queue(), Blob(bytearray(5_000_000))
    queue.put(blob)
    queue.get()
    before = used()
    for _ in range(20):
        queue.put(blob)
        got = queue.get()
        again = memoryview(got.data)[10:20]
        del got
        assert bytes(again) == bytes(10)  # a view of a view keeps it
        del again
    gc.collect()
    assert used() <= before


def look_and_answer(data, pipe):
    """In a child made with fork: the parent lets go, and much comes in its place."""
    pipe.send("here")
    pipe.recv()
    pipe.send(bytes(data) == b"k" * 200_000)


def test_children_made_with_fork_keep_it(only_kin):
    queue = only_kin.Queue()
    queue.put(Blob(bytearray(b"k" * 200_000)))
    got = queue.get()
    here, there = only_kin.Pipe()
    child = only_kin.Process(target=look_and_answer, args=(got.data, there))
    child.start()
    here.recv()
    del got  # the process has dropped its arguments when it was started
    gc.collect()
    for _ in range(5):
        queue.put(Blob(bytearray(b"z" * 200_000)))
        queue.get()
    here.send("now")
    assert here.recv() is True
    child.join()


def produce(queue, count):
    """In a child."""
    for n in range(count):
        queue.put((n, Blob(bytearray([n]) * 300_000)))


@pytest.mark.parametrize("method", METHODS)
def test_between_processes(method):
    context = kin.get_context(method)
    queue = context.Queue(3)
    child = context.Process(target=produce, args=(queue, 20))
    child.start()
    kept = [queue.get(timeout=50) for _ in range(20)]
    child.join()
    assert [n for n, _ in kept] == list(range(20))
    assert all(bytes(blob.data) == bytes([n]) * 300_000 for n, blob in kept)


class Killer:
    """Kills who unpickles it, once."""

    def __init__(self, flag):
        self.flag = flag

    def __reduce__(self):
        return _kill_once, (self.flag,)


def _kill_once(flag):
    if flag.value == 0:
        flag.value = 1
        os.kill(os.getpid(), signal.SIGKILL)
    return "alive"


def test_killed_while_it_reads(only_kin):
    """It has not taken the item, which is whole for the next one."""
    queue, flag = only_kin.Queue(), only_kin.Value("i", 0)
    queue.put((Blob(bytearray(b"q" * 100_000)), Killer(flag)))
    child = only_kin.Process(target=queue.get)
    child.start()
    child.join()
    assert child.exitcode == -signal.SIGKILL
    blob, said = queue.get(timeout=50)
    assert bytes(blob.data) == b"q" * 100_000 and said == "alive"


def test_what_unpickling_raises(only_kin):
    queue = only_kin.Queue()
    queue.put((Blob(bytearray(100_000)), _Broken()))
    with pytest.raises(ZeroDivisionError):
        queue.get()
    assert queue.empty()


class _Broken:
    def __reduce__(self):
        return divmod, (1, 0)


def test_full_and_cancelled(only_kin):
    queue, blob = only_kin.Queue(1), Blob(bytearray(1_000_000))
    queue.put(1)
    before = used()
    for _ in range(5):
        with pytest.raises(kin.queues.Full):
            queue.put(blob, timeout=0.001)
    assert used() <= before + 2_000_000


def test_many_and_pipes(only_kin):
    queue, blob = only_kin.Queue(), Blob(bytearray(b"m" * 50_000))
    queue.put_many([blob, blob])
    assert [bytes(each.data) for each in queue.get_many(5)] == [b"m" * 50_000] * 2
    queue.put(blob)
    assert [bytes(each.data) for each in queue.get_many(5)] == [b"m" * 50_000]


def test_pipes(only_kin):
    (here, there), (reader, writer) = only_kin.Pipe(), only_kin.Pipe(duplex=False)
    for size in (10, 40_000, 5_000_000):
        data = bytearray(os.urandom(size))
        here.send(["a list", Blob(data)])
        got = there.recv()[1]
        assert bytes(got.data) == data
        if size > 10:
            got.data[0] ^= 1
            assert got.data[0] != data[0]
        del got
    with pytest.raises(OSError):
        reader.send(Blob(bytearray(40_000)))
    reader.close()
    with pytest.raises(BrokenPipeError):
        writer.send(Blob(bytearray(40_000)))


def test_a_full_pipe(only_kin):
    here, there = only_kin.Pipe()

    def child():
        for n in range(10):
            here.send((n, Blob(bytearray([n]) * 700_000)))

    process = only_kin.Process(target=child)
    process.start()
    for n in range(10):
        number, blob = there.recv()
        assert number == n and bytes(blob.data) == bytes([n]) * 700_000
    process.join()
    assert process.exitcode == 0


def test_numpy(only_kin):
    numpy = pytest.importorskip("numpy")
    queue = only_kin.Queue()
    for array in (
        numpy.arange(100_000, dtype="f8"),
        numpy.arange(100_000, dtype="i4").reshape(100, 1000).T,
        numpy.arange(100_000)[::3],
        numpy.zeros((50_000,), dtype=[("a", "i4"), ("b", "f8")]),
        numpy.arange(10),
    ):
        queue.put(("array", array))
        got = queue.get()[1]
        assert got.dtype == array.dtype and got.shape == array.shape and (got == array).all()
        assert got.flags.writeable and got.ctypes.data % 16 == 0
        got.flat[0] = 1
    assert sys.getrefcount(array) < 10


class Fickle:
    """It gives pickle a buffer, and takes that back before pickle is done."""

    def __init__(self, data):
        self.data = data

    def __reduce_ex__(self, protocol):
        self.given = pickle.PickleBuffer(self.data)
        return bytes, (self.given,)


class Release:
    def __init__(self, owner):
        self.owner = owner

    def __reduce__(self):
        self.owner.given.release()
        return int, ()


def test_a_buffer_that_is_taken_back(only_kin):
    data = os.urandom(100_000)
    fickle = Fickle(bytearray(data))
    item = [fickle, Release(fickle)]
    queue = only_kin.Queue()
    queue.put(item)
    assert queue.put_many([item]) == 1
    assert [queue.get(), queue.get()] == [[data, 0]] * 2
    ours, theirs = only_kin.Pipe()
    sender = threading.Thread(target=ours.send, args=(item,))
    sender.start()
    assert theirs.recv() == [data, 0]
    sender.join()
    fickle.data.append(1)  # nobody looks into it any more


@pytest.mark.skipif(sys.version_info < (3, 12), reason="__buffer__ is new in 3.12")
def test_a_buffer_that_is_lent_once(only_kin):
    class Lent:
        def __buffer__(self, flags):
            return memoryview(b"x" * 100_000)

    queue = only_kin.Queue()
    try:
        pickle.dumps(Fickle(Lent()), 5, buffer_callback=[].append)
    except TypeError as refused:  # by pickle itself, since 3.14
        with pytest.raises(TypeError, match=str(refused)):
            queue.put(Fickle(Lent()))
        return
    queue.put(Fickle(Lent()))
    assert queue.get() == b"x" * 100_000
