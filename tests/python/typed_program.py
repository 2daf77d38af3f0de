"""A program with types: what `mypy --strict` makes of kin; see scripts/check. It runs, too."""

import asyncio
import ctypes

import kin
import kin.queue
import kin.threading
from kin.connection import Connection, wait
from kin.named import Arena
from kin.pool import WorkerLostError
from kin.queues import Queue
from kin.shared_memory import ShareableList, SharedMemory
from kin.synchronize import Lock


def worker(lock: Lock, queue: "Queue[tuple[int, str]]", end: Connection, number: int) -> None:
    """A child."""
    with lock:
        queue.put((number, "done"))
    end.send(number)


def square(number: int) -> int:
    """For the pool."""
    return number * number


def by_name() -> None:
    """What an arena of a name has."""
    shop: Arena = kin.open("typed program")
    clicks = shop.queue("clicks", 10, raw=True)
    clicks.put(b"one")
    clicks.shutdown()
    items: list[bytes] = list(clicks)
    total = shop.value("total", ctypes.c_int64)
    total += 2
    before: int = total.add(1)
    with shop.condition("changed", shop.lock("till")) as held:
        assert held and items == [b"one"] and before == 2
    assert kin.Lock(name="a lock").acquire(timeout=1.0)


def blocks() -> None:
    """Blocks of shared memory."""
    block = SharedMemory(create=True, size=4)
    again = SharedMemory(block.name)
    assert block.buf is not None and again.buf is not None
    block.buf[:4] = b"abcd"
    assert bytes(again.buf) == b"abcd" and block.size == 4
    block.unlink()
    numbers: ShareableList[int] = ShareableList([1, 2])
    assert numbers[1] == 2
    numbers.shm.unlink()


def threads() -> None:
    """The names of threading and queue."""
    tasks: kin.queue.Queue[str] = kin.queue.Queue(maxsize=3)
    tasks.put("task", timeout=1.0)
    thread = kin.threading.Thread(target=tasks.task_done)
    assert tasks.get(block=False) == "task" and tasks.unfinished_tasks == 1
    thread.start()
    tasks.join()
    thread.join()
    first: kin.queue.PriorityQueue[tuple[int, str]] = kin.queue.PriorityQueue()
    first.put((1, "one"))
    first.put((0, "zero"), priority=2)
    assert first.get() == (1, "one") and tasks.maxsize == 3
    permits = kin.threading.Semaphore(2)
    assert permits.acquire(blocking=False)
    permits.release(n=1)
    with kin.threading.Condition(kin.threading.RLock()) as held, kin.threading.Lock():
        assert held


async def in_a_loop(queue: "Queue[int]", lock: Lock) -> int:
    """Waiting in an event loop."""
    await queue.aput(7)
    async with lock, kin.BoundedSemaphore(1):
        return await queue.aget()


def main() -> None:
    """One of each."""
    lock: Lock = kin.Lock()
    queue: Queue[tuple[int, str]] = kin.Queue(10)
    ours, theirs = kin.Pipe()
    children = [kin.Process(target=worker, args=(lock, queue, theirs, n)) for n in range(2)]
    for child in children:
        child.start()
    numbers: list[int] = sorted(number for number, _ in (queue.get(timeout=10) for _ in children))
    assert numbers == [0, 1] and wait([ours], 10) == [ours]
    for child in children:
        child.join()
    value = kin.Value(ctypes.c_int, 1)
    value += 2
    before: int = value.add(1)
    assert before == 3 and value.value == 4
    condition, event, barrier = kin.Condition(lock), kin.Event(), kin.Barrier(1)
    with condition:
        condition.notify_all()
    event.set()
    index: int = barrier.wait(1.0)
    permits = kin.BoundedSemaphore(2)
    assert index == 0 and event.wait(1.0) and permits.acquire(timeout=1.0)
    context = kin.get_context("fork")
    many: int = context.Queue().put_many([1, 2, 3])
    array = kin.Array("d", 3)
    array[0] = 0.5
    with kin.Pool(2) as pool:
        try:
            squares: list[int] = pool.map(square, range(3))
        except WorkerLostError as lost:
            raise SystemExit(str(lost)) from lost
    assert squares == [0, 1, 4] and many == 3 and kin.cpu_count() > 0
    assert kin.current_process().name == "MainProcess" and kin.active_children() == []
    by_name()
    blocks()
    threads()
    seven: int = asyncio.run(in_a_loop(kin.Queue(), kin.Lock()))
    assert seven == 7
    try:
        queue.shutdown()
        queue.get()
    except kin.ShutDown:
        pass


if __name__ == "__main__":
    main()
