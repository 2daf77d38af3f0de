"""Deaths: SIGKILL at the worst place, and the others go on."""

import os
import signal
import threading

import pytest


def kill_self():
    """As nobody can prepare for."""
    os.kill(os.getpid(), signal.SIGKILL)


def die_with(mp, action):
    """Run action in a child that is killed then."""

    def child():
        action()
        kill_self()

    process = mp.Process(target=child)
    process.start()
    process.join()
    assert process.exitcode == -signal.SIGKILL


@pytest.mark.parametrize("kind", ["Lock", "RLock"])
def test_holder_of_a_lock(only_kin, kind):
    lock = getattr(only_kin, kind)()
    die_with(only_kin, lock.acquire)
    assert lock.acquire(timeout=30)
    assert lock.abandoned == 1


def test_holder_of_permits(only_kin):
    semaphore = only_kin.Semaphore(2)
    die_with(only_kin, lambda: semaphore.acquire() and semaphore.acquire())
    assert semaphore.acquire(timeout=30) and semaphore.acquire(timeout=30)
    assert semaphore.abandoned == 2


def test_party_of_a_barrier(only_kin):
    barrier = only_kin.Barrier(3)
    process = only_kin.Process(target=barrier.wait)
    process.start()
    while barrier.n_waiting == 0:
        pass
    process.kill()
    process.join()
    with pytest.raises(threading.BrokenBarrierError):
        barrier.wait(30)


def test_producer(only_kin):
    queue = only_kin.Queue()
    die_with(only_kin, lambda: queue.put_many(range(100)))
    assert [queue.get(timeout=30) for _ in range(100)] == list(range(100))


class Deadly:
    """Kills the first process that loads it; later ones get its text."""

    def __init__(self, flag, text):
        self.flag, self.text = flag, text

    def __reduce__(self):
        return load_deadly, (self.flag, self.text)


def load_deadly(flag, text):
    """flag: a descriptor that all processes share; the first one takes its byte."""
    try:
        byte = os.read(flag, 1)
    except BlockingIOError:
        byte = b""
    if byte:
        kill_self()
    return text


def test_consumer_in_get(only_kin):
    """A long message is unpickled where it lies: not taken by who dies of it."""
    reader, writer = os.pipe()
    os.set_blocking(reader, False)
    os.write(writer, b"!")
    queue = only_kin.Queue()
    queue.put(Deadly(reader, "x" * 10_000))
    queue.put("second")
    die_with(only_kin, queue.get)
    both = {queue.get(timeout=30), queue.get(timeout=30)}  # once the death is seen: in any order
    assert both == {"x" * 10_000, "second"}
    os.close(reader)
    os.close(writer)


def test_blocked_consumer(only_kin):
    queue, ready = only_kin.Queue(), only_kin.Semaphore(0)

    def child():
        ready.release()
        queue.get()

    processes = [only_kin.Process(target=child) for _ in range(3)]
    for process in processes:
        process.start()
        ready.acquire()
    for process in processes:
        process.kill()
        process.join()
    queue.put("still here")
    assert queue.get(timeout=30) == "still here"


def test_consumer_before_task_done(only_kin):
    queue = only_kin.JoinableQueue()
    queue.put(1)
    die_with(only_kin, queue.get)
    queue.join()


def test_other_end_of_a_pipe(only_kin):
    ours, theirs = only_kin.Pipe()

    def child():
        ours.close()
        theirs.send("last words")
        kill_self()

    process = only_kin.Process(target=child)
    process.start()
    theirs.close()
    assert ours.recv() == "last words"
    with pytest.raises(EOFError):
        ours.recv()
    process.join()
