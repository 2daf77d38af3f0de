"""Ten processes add twenty each to one value: 200, neither more nor less."""

from multiprocessing import Lock, Process, Value


def add_twenty(total, lock):
    """One at a time."""
    for _ in range(20):
        with lock:
            total.value += 1


if __name__ == "__main__":
    total, lock = Value("i", 0, lock=False), Lock()
    processes = [Process(target=add_twenty, args=(total, lock)) for _ in range(10)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    print(total.value)
