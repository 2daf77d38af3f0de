"""Nothing grows: each type is used again and again, and then as much is there as before.

    python leaks.py [ROUNDS]

Counts objects and blocks of memory of the interpreter, references (in a debug build), file
descriptors, objects and bytes of the arena, threads that use it, and child processes. Prints what
grew; needs nothing but kin.
"""

import gc
import os
import pickle
import sys
import threading

import kin
from kin import _kin
from kin.connection import wait


def lock():
    """Lock and RLock."""
    for made in kin.Lock(), kin.RLock():
        with made:
            made.acquire(timeout=0)
        repr(made)
    try:
        kin.Lock().release()
    except ValueError:
        pass


def semaphore():
    """Semaphore and BoundedSemaphore."""
    for made in kin.Semaphore(2), kin.BoundedSemaphore(2):
        with made:
            made.acquire(False)
        repr(made)


def event():
    """Event."""
    made = kin.Event()
    made.wait(0)
    made.set()
    made.wait()


def condition():
    """Condition."""
    for made in kin.Condition(), kin.Condition(kin.Lock()):
        with made:
            made.wait(0.00001)
            made.notify_all()
            made.wait_for(lambda: True)


class Meeting:
    """Has a barrier, which has a method of it: a cycle."""

    def __init__(self):
        self.barrier = kin.Barrier(1, self.act, 1)

    def act(self):
        """The action."""


def barrier():
    """Barrier."""
    made = Meeting().barrier
    made.wait()
    made.abort()
    try:
        made.wait()
    except threading.BrokenBarrierError:
        pass


ITEMS = [None, 1, "text", b"x" * 5000, {"a": [1, 2]}, {1, 2}, "y" * 100_000]


def queues():
    """All queues: short items and long ones, many at once, closed, shut down, full and empty."""
    for kind in kin.Queue, kin.JoinableQueue, kin.LifoQueue:
        queue = kind(20)
        for item in ITEMS:
            queue.put(item)
        queue.put_many(ITEMS)
        assert len(queue.get_many(2)) == 2
        while not queue.empty():
            queue.get()
        fails(queue.get, False)
        fails(queue.put, lambda: None)
        queue.close()
        fails(queue.put, 1)
    queue = kin.PriorityQueue()
    queue.put(ITEMS, priority=2)
    queue.put((1, "first"))
    queue.get()
    queue.shutdown(immediate=True)
    fails(queue.get)
    queue = kin.SimpleQueue()
    queue.put(ITEMS)
    assert wait([queue._reader], 0) and queue.get() == ITEMS
    queue.put(ITEMS)  # nobody gets it


def fails(function, *arguments):
    """It raises, and what it raises keeps nothing."""
    try:
        function(*arguments)
    except Exception:
        return
    raise AssertionError(f"{function} did not fail")


def pipe():
    """Both kinds of pipe."""
    for duplex in True, False:
        receiver, sender = kin.Pipe(duplex)
        for item in ITEMS:
            sender.send(item)
            assert wait([receiver], 10) == [receiver] and receiver.recv() == item
        sender.send_bytes(b"bytes")
        receiver.recv_bytes_into(bytearray(10))
        sender.close()
        fails(receiver.recv)
        fails(sender.fileno)


def values():
    """Value, Array and the raw ones."""
    value = kin.Value("i", 1)
    value += 1
    with value:
        value.value += 1
    value.wait(0, 0)
    fails(value.add, 1 << 80)
    array = kin.Array("d", range(100))
    with array.get_lock():
        array[:] = array[::-1]
    kin.RawArray("c", b"bytes")
    kin.RawValue("q", 5)
    memoryview(kin.RawArray("i", 10)).release()


def handles():
    """Handles that go through a queue."""
    queue = kin.Queue()
    for handle in kin.Lock(), kin.Event(), kin.Value("i", 1), kin.Array("i", 5), kin.Barrier(2):
        queue.put(handle)
        queue.get()
    fails(pickle.loads, pickle.dumps(queue)[:-3])


def threads():
    """A thread that waits, and ends."""
    queue = kin.Queue()
    thread = threading.Thread(target=queue.get)
    thread.start()
    queue.put(1)
    thread.join()


def child_of(queue, event):
    """What a child does."""
    event.wait()
    queue.put([1, 2, 3])


def children(method):
    """A child that ends, and one that is killed."""
    context = kin.get_context(method)
    queue, event = context.Queue(), context.Event()
    ended = context.Process(target=child_of, args=(queue, event))
    killed = context.Process(target=child_of, args=(queue, kin.Event()))
    ended.start()
    killed.start()
    event.set()
    assert queue.get() == [1, 2, 3]
    killed.kill()
    for child in ended, killed:
        child.join()
        child.close()


def fork():
    """Children that are forked."""
    children("fork")


def spawn():
    """Children that are started anew."""
    children("spawn")


def forkserver():
    """Children that the server forks."""
    children("forkserver")


def pool():
    """Pool."""
    with kin.Pool(2) as workers:
        assert workers.map(abs, range(-9, 0)) == list(range(9, 0, -1))
    workers.join()


QUICK = [lock, semaphore, event, condition, barrier, queues, pipe, values, handles, threads]
SLOW = [fork, spawn, forkserver, pool]


def children_count():
    """Child processes, also those that nobody has joined."""
    with open(f"/proc/self/task/{os.getpid()}/children", encoding="ascii") as file:
        return len(file.read().split())


def measure():
    """What must not grow, by name."""
    for _ in range(3):
        gc.collect()
    _kin.arena_reap()  # else the dead are found when somebody waits
    arena = _kin.arena_stat()
    found = {name: arena[name] for name in ("objects_count", "threads_count", "participants_count")}
    found["arena units"] = arena["used_bytes"] // 65536
    found["descriptors"] = len(os.listdir("/proc/self/fd"))
    found["children"] = children_count()
    found["memory blocks"] = sys.getallocatedblocks()
    found["references"] = getattr(sys, "gettotalrefcount", int)()
    return found


# What comes and goes a little, and is a leak if it grows that much in a round. The standard library
# keeps some for each child that it starts, among it names that pickling makes.
LOOSE = {"memory blocks": 0.9, "references": 0.5, "arena units": 0.5}
LOOSE_OF_CHILDREN = {"memory blocks": 10, "references": 10, "arena units": 0.5}


def grown(use, rounds, loose):
    """What grew each time that it was used so often: a leak never stops."""
    found = {}
    for _ in range(12):
        found = grown_once(use, rounds, loose)
        if not found:
            break
    return found


def grown_once(use, rounds, loose):
    """What grew while it was used that often, after it had been used as often."""
    for _ in range(rounds):
        use()
    before = measure()
    for _ in range(rounds):
        use()
    after = measure()
    return {
        name: f"{before[name]} -> {after[name]} in {rounds} rounds"
        for name in before
        if after[name] - before[name] > rounds * loose.get(name, 0)
    }


def main():
    """Use everything; 1 if anything grew."""
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 100
    leaks = 0
    for use in QUICK + SLOW:
        found = grown(use, rounds, LOOSE) if use in QUICK else grown(use, 8, LOOSE_OF_CHILDREN)
        leaks += len(found)
        print(f"{use.__name__}: {found or 'nothing grew'}", flush=True)
    return 1 if leaks else 0


if __name__ == "__main__":
    sys.exit(main())
