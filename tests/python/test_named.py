"""Objects by name: with a program in C, with a program that is no relative, and in the family."""

import os
import pickle
import signal
import struct
import subprocess
import sys

import pytest

import kin

METHODS = ["fork", "spawn", "forkserver"]


@pytest.fixture
def arena(request):
    """An arena of a name of its own."""
    return kin.open("%s-%d" % (request.node.name[:16].replace("/", "-"), os.getpid()))


def test_a_program_in_c(arena):
    peer = os.environ.get("KIN_NAMED_PEER")
    if peer is None:
        pytest.skip("KIN_NAMED_PEER, the program in C, is not set")
    numbers = [0, 1, -5, 1 << 40]
    to, back = arena.queue("in", raw=True), arena.queue("out", raw=True)
    lock = arena.lock("lock")
    with lock, subprocess.Popen([peer, arena.name]) as program:
        to.put_many([struct.pack("q", n) for n in numbers[:2]])
        with pytest.raises(kin.queues.Empty):
            back.get(timeout=0.2)  # it waits for the lock
        lock.release()
        for number in numbers[2:]:
            to.put(struct.pack("q", number))
        to.shutdown()
        assert [struct.unpack("q", item)[0] for item in back] == [n + 1 for n in numbers]
        assert program.wait() == -signal.SIGKILL
        assert lock.acquire()  # of the dead
        assert lock.abandoned == 1


def test_a_program_in_python(arena):
    code = (
        "import kin, sys\n"
        "shop = kin.open(sys.argv[1], create=False)\n"
        "for click in shop.queue('clicks'):\n"
        "    shop.priority_queue('sorted').put(click['n'])\n"
        "    shop.value('sum', 'q').add(click['n'])\n"
        "    shop.array('each', 'i', 5)[click['n']] = 1\n"
        "shop.event('end').set()\n"
    )
    clicks, ordered = arena.queue("clicks"), arena.priority_queue("sorted")
    total, each, end = arena.value("sum", "q"), arena.array("each", "i", 5), arena.event("end")
    with subprocess.Popen([sys.executable, "-c", code, arena.name]):
        for n in (4, 1, 3):
            clicks.put({"n": n, "kind": ("click", None)})
        clicks.shutdown()
        assert end.wait(50)
    assert [ordered.get() for _ in range(3)] == [1, 3, 4]
    assert total.value == 8 and each[:] == [0, 1, 0, 1, 1]


def test_all_kinds(arena):
    """Each object twice, by its name, is one."""
    with arena.rlock("rlock"):
        assert arena.rlock("rlock").locked()
    semaphore = arena.semaphore("semaphore", 3)
    assert semaphore.acquire() and arena.semaphore("semaphore", 3).get_value() == 2
    bounded = arena.bounded_semaphore("bounded", 1)
    with pytest.raises(ValueError):
        arena.bounded_semaphore("bounded", 1).release()
    assert bounded.get_value() == 1
    lock = arena.lock("lock")
    condition = arena.condition("condition", lock)
    with condition:
        arena.condition("condition", lock).notify()
    barrier = arena.barrier("barrier", 1)
    assert barrier.wait() == 0 and arena.barrier("barrier", 1).parties == 1
    lifo = arena.lifo_queue("lifo")
    lifo.put_many([1, 2, 3])
    assert arena.lifo_queue("lifo").get() == 3
    jobs = arena.joinable_queue("jobs", 5)
    jobs.put("job")
    same = arena.joinable_queue("jobs", 5)
    assert same.get() == "job"
    same.task_done()
    jobs.join()


def test_what_contradicts(arena):
    kept = [arena.queue("queue", 5), arena.lock("lock"), arena.semaphore("semaphore", 2)]
    with pytest.raises(ValueError, match="max_items"):
        arena.queue("queue", 6)
    with pytest.raises(TypeError, match="is a lock"):
        arena.queue("lock")
    with pytest.raises(ValueError):
        arena.semaphore("semaphore", 1)
    with pytest.raises(ValueError):
        arena.queue("x" * 32)
    with pytest.raises(ValueError):
        kin.open("a/b")
    with pytest.raises(FileNotFoundError):
        kin.open("nobody-%d" % os.getpid(), create=False)
    assert len(kept) == 3


def test_opened_twice_is_one(arena):
    assert kin.open(arena.name) is arena
    assert pickle.loads(pickle.dumps(arena)) is arena
    assert arena.name in repr(arena)


def test_in_a_file(tmp_path):
    path = str(tmp_path / "arena")
    queue = kin.open(path=path).queue("queue")
    code = f"import kin; kin.open(path={path!r}).queue('queue').put('hello')"
    done = subprocess.run([sys.executable, "-c", code], check=False, timeout=50)
    assert done.returncode == 0
    assert queue.get() == "hello"


def answer(questions, lock, answers):
    """In a child: objects of a named arena, and one of the family by name."""
    with lock:
        answers.put(questions.get() + 1)
    kin.Queue(name="family").put("found")


@pytest.mark.parametrize("method", METHODS)
def test_children(arena, method):
    context = kin.get_context(method)
    questions, answers = arena.queue("questions-" + method), context.Queue()
    family = context.Queue(name="family")
    child = context.Process(target=answer, args=(questions, arena.lock("lock"), answers))
    lock = arena.lock("lock")
    child.start()
    questions.put(41)
    assert answers.get(timeout=50) == 42
    assert family.get(timeout=50) == "found"
    child.join()
    assert child.exitcode == 0 and not lock.locked()


def test_names_in_the_family():
    lock, same = kin.Lock(name="one"), kin.Lock(name="one")
    with lock:
        assert same.locked() and not kin.Lock(name="other").locked()
    assert kin.Event(name="event").is_set() is False
    with pytest.raises(ValueError):
        kin.Condition(name="condition")


def test_raw():
    queue = kin.Queue(raw=True)
    queue.put(b"bytes")
    queue.put(memoryview(b"view"))
    queue.put_many([b"many", bytearray(5000)])
    with pytest.raises(TypeError):
        queue.put("text")
    assert queue.get_many(2) == [b"bytes", b"view"]
    assert [queue.get(), queue.get()] == [b"many", bytes(5000)]
    other = kin.SimpleQueue()
    other.put(queue)
    other.get().put(b"through another queue")
    assert queue.get() == b"through another queue"


def test_maxbytes():
    queue = kin.Queue(maxbytes=100)
    queue.put(b"x" * 60)
    with pytest.raises(kin.queues.Full):
        queue.put(b"x" * 60, timeout=0.01)
    assert queue.get() == b"x" * 60
    queue.put(b"x" * 60)


def test_iterated_until_shut_down(only_kin):
    queue = only_kin.Queue()
    queue.put_many(range(5))
    queue.shutdown()
    assert list(queue) == list(range(5)) and list(queue) == []


def test_fork_while_a_thread_opens(only_kin):
    """What guards the arenas that this process has opened is free in a child."""
    name = "forked-%d" % os.getpid()

    def child():
        kin.open(name).event("end").set()

    with kin.named._mutex:
        process = only_kin.Process(target=child)
        process.start()
    process.join()
    assert process.exitcode == 0
