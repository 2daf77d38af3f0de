"""A shared counter, with and without its lock."""

from multiprocessing import Process, Value

TIMES = 2_000


def add_carelessly(counter):
    """A read and a write: another process may come between them."""
    for _ in range(TIMES):
        counter.value += 1


def add_carefully(counter):
    """The same with the lock of the counter held."""
    for _ in range(TIMES):
        with counter.get_lock():
            counter.value += 1


def count_with(target):
    """Two processes, one counter."""
    counter = Value("i", 0)
    processes = [Process(target=target, args=(counter,)) for _ in range(2)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    return counter.value


if __name__ == "__main__":
    print("with the lock:", count_with(add_carefully))
    print("without, at most as many:", count_with(add_carelessly) <= 2 * TIMES)
