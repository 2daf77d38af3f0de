"""What the benchmarks share: the contestants in turn, medians and ratios.

A contestant has Process, Queue and so on, as multiprocessing has them: kin, the standard library,
and billiard and faster-fifo where they are installed (pip install billiard faster-fifo).
"""

import multiprocessing
import os
import platform
import statistics
import sys
import time
import types

import kin

try:
    import billiard
except ImportError:
    billiard = None
try:
    import faster_fifo
except ImportError:
    faster_fifo = None

ROUNDS = 7


class FasterFifo:
    """Queues of faster-fifo between processes of the standard library."""

    Process = multiprocessing.get_context("fork").Process

    @staticmethod
    def Queue(max_size_bytes=1 << 20):
        """Which holds so many bytes."""
        return faster_fifo.Queue(max_size_bytes=max_size_bytes)


CONTESTANTS = {
    "kin": kin.get_context("fork"),
    "multiprocessing": multiprocessing.get_context("fork"),
    "billiard": billiard and billiard.get_context("fork"),
    "faster-fifo": faster_fifo and FasterFifo,
}


def header():
    """The machine, and the names above the columns."""
    print(f"Python {platform.python_version()}, Linux {platform.release()} {platform.machine()}, "
          f"{os.cpu_count()} cores, {time.strftime('%Y-%m-%d %H:%M', time.gmtime())} UTC, "
          f"load {os.getloadavg()[0]:.2f}; medians of {ROUNDS} rounds")
    print("ratio: how many times as long as with kin; in brackets what is asked for\n")
    print(f"{'us an operation':40}" + "".join(f"{name:>24}" for name in CONTESTANTS))


def own(run):
    """A copy that nobody else runs: code that meets many types is not specialised to any of them."""
    if not isinstance(run, types.FunctionType):
        return run
    return types.FunctionType(run.__code__.replace(), run.__globals__, run.__name__, run.__defaults__,
                              run.__closure__)


def compare(name, run, *, without=(), **asked):
    """run(contestant) returns seconds an operation, or None if there is no such thing. They take
    turns, so that all meet the same machine. asked: multiprocessing=15 is a least ratio."""
    times = {which: [] for which in CONTESTANTS}
    runs = {which: own(run) for which in CONTESTANTS}
    for _ in range(ROUNDS):
        for which, contestant in CONTESTANTS.items():
            if contestant is not None and which not in without:
                times[which].append(runs[which](contestant))
    columns = [f"{name:40}", f"{statistics.median(times['kin']) * 1e6:24.3f}"]
    for which in list(CONTESTANTS)[1:]:
        if not times[which] or None in times[which]:
            columns.append(f"{'-':>24}")
            continue
        ratio = statistics.median(t / ours for t, ours in zip(times[which], times["kin"]))
        aim = asked.get(which.replace("-", "_"))
        mark = "" if aim is None else f" ({aim:g}: {'yes' if ratio >= aim else 'NO'})"
        text = f"{statistics.median(times[which]) * 1e6:.3f} {ratio:.{1 if ratio >= 2 else 2}f}x{mark}"
        columns.append(f"{text:>24}")
    print("".join(columns))
    sys.stdout.flush()


def least(name, run):
    """What kin cannot be below; run() returns seconds an operation."""
    seconds = statistics.median(run() for _ in range(ROUNDS))
    print(f"{'  of that: ' + name:40}{seconds * 1e6:24.3f}")
