"""How long it takes to import the package, and to start a process and join it."""

import statistics
import subprocess
import sys
from time import perf_counter

import measure

IMPORTS = 15


def start_and_join(contestant):
    """A child that does nothing."""
    process = contestant.Process(target=int)
    start = perf_counter()
    process.start()
    process.join()
    return perf_counter() - start


def many_starts(contestant):
    """The mean of twenty."""
    return sum(start_and_join(contestant) for _ in range(20)) / 20


def import_seconds(*names):
    """Of a fresh interpreter, less that of one that imports nothing, in turn."""
    took = []
    for _ in range(IMPORTS):
        pair = []
        for code in ("import multiprocessing.context", "import " + ", ".join(names)):
            start = perf_counter()
            subprocess.run([sys.executable, "-c", code], check=True)
            pair.append(perf_counter() - start)
        took.append(pair[1] - pair[0])
    return statistics.median(took)


def main():
    """Both."""
    measure.compare("Process, start and join", many_starts, without=("faster-fifo",), multiprocessing=1)
    extra = import_seconds("multiprocessing.context", "kin") * 1e3
    print(f"{'import kin, beside multiprocessing':40}{extra:21.1f} ms (30 at most: "
          f"{'yes' if extra <= 30 else 'NO'})")


if __name__ == "__main__":
    measure.header()
    main()
