"""A program with types: what `mypy --strict` makes of kin; see scripts/check. It runs, too."""

import ctypes

import kin
from kin.connection import Connection, wait
from kin.pool import WorkerLostError
from kin.queues import Queue
from kin.synchronize import Lock


def worker(lock: Lock, queue: "Queue[tuple[int, str]]", end: Connection, number: int) -> None:
    """A child."""
    with lock:
        queue.put((number, "done"))
    end.send(number)


def square(number: int) -> int:
    """For the pool."""
    return number * number


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
    try:
        queue.shutdown()
        queue.get()
    except kin.ShutDown:
        pass


if __name__ == "__main__":
    main()
