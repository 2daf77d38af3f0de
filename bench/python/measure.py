"""What the benchmarks share: both implementations in turn, medians and ratios."""

import multiprocessing
import statistics

import kin

ROUNDS = 7


def compare(name, run, unit="us", scale=1e6):
    """run(context) returns seconds an operation; the two take turns, so that both meet the same
    machine. Prints the medians and how many times faster kin is."""
    times = {"multiprocessing": [], "kin": []}
    contexts = {
        "multiprocessing": multiprocessing.get_context("fork"),
        "kin": kin.get_context("fork"),
    }
    for _ in range(ROUNDS):
        for which, context in contexts.items():
            times[which].append(run(context))
    standard, ours = (statistics.median(times[which]) * scale for which in contexts)
    print(f"{name:34} {standard:10.3f} {unit}  kin {ours:10.3f} {unit}  {standard / ours:6.1f} x")
