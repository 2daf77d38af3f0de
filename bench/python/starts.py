"""How long it takes to import the package, and to start a process and join it."""

import mmap
import statistics
import struct
import subprocess
import sys
from functools import partial
from time import perf_counter

import measure

IMPORTS = 15
PAGE = mmap.mmap(-1, mmap.PAGESIZE)  # which the children share


def begin():
    """What the child runs: it says when."""
    struct.pack_into("d", PAGE, 0, perf_counter())


def start_once(contestant):
    """Until start() has returned, until the child's function runs, until the child was joined."""
    process = contestant.Process(target=begin)
    start = perf_counter()
    process.start()
    started = perf_counter() - start
    process.join()
    joined = perf_counter() - start
    return started, struct.unpack_from("d", PAGE)[0] - start, joined


def many_starts(contestant, which):
    """The median of sixty."""
    return statistics.median(start_once(contestant)[which] for _ in range(60))


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
    """All of them."""
    without = ("faster-fifo",)
    measure.compare("Process, start", partial(many_starts, which=0), without=without, multiprocessing=1)
    measure.compare("  until its function runs", partial(many_starts, which=1), without=without)
    measure.compare("  until it was joined", partial(many_starts, which=2), without=without)
    extra = import_seconds("multiprocessing.context", "kin") * 1e3
    print(f"{'import kin, beside multiprocessing':40}{extra:21.1f} ms (30 at most: "
          f"{'yes' if extra <= 30 else 'NO'})")


if __name__ == "__main__":
    measure.header()
    main()
