"""Processes with arguments: each greets once, and says in its exit code how long the name is."""

import sys
from multiprocessing import Process


def greet(name, times=1):
    """What a child does; its exit code can be seen by whoever joins it."""
    sys.exit(len(name) * times)


if __name__ == "__main__":
    people = ["Ada", "Grace", "Barbara"]
    processes = [Process(target=greet, args=(name,), kwargs={"times": 2}) for name in people]
    for process in processes:
        process.start()
    for name, process in zip(people, processes):
        process.join()
        print(name, process.exitcode, process.is_alive())
