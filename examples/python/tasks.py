"""Tasks in a JoinableQueue: join() returns when each has been said to be done."""

from multiprocessing import JoinableQueue, Process, Queue


def work(tasks, results):
    """Daemonic: there is no sentinel."""
    while True:
        first, second = tasks.get()
        results.put((first, second, first * second))
        tasks.task_done()


if __name__ == "__main__":
    tasks, results = JoinableQueue(), Queue()
    for _ in range(2):
        Process(target=work, args=(tasks, results), daemon=True).start()
    for first in range(1, 4):
        for second in range(1, 4):
            tasks.put((first, second))
    tasks.join()
    for first, second, product in sorted(results.get() for _ in range(9)):
        print(first, "x", second, "=", product)
