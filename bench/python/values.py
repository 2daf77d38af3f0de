"""Values and arrays: kin beside multiprocessing."""

import array
from time import perf_counter

from measure import compare

COUNT = 50_000
ITEMS = 1_000_000


def add(context):
    """One more: an atomic step, or under the lock."""
    value = context.Value("q", 0)
    start = perf_counter()
    if hasattr(value, "add"):
        for _ in range(COUNT):
            value.add(1)
    else:
        for _ in range(COUNT):
            with value.get_lock():
                value.value += 1
    seconds = perf_counter() - start
    assert value.value == COUNT
    return seconds / COUNT


def locked_add(context):
    """One more under the lock."""
    value = context.Value("q", 0)
    start = perf_counter()
    for _ in range(COUNT):
        with value.get_lock():
            value.value += 1
    return (perf_counter() - start) / COUNT


def fill(context):
    """A million doubles from an array of the standard library."""
    items = array.array("d", range(ITEMS))
    start = perf_counter()
    context.RawArray("d", items)
    return perf_counter() - start


if __name__ == "__main__":
    compare("Value, one more", add)
    compare("Value, one more under its lock", locked_add)
    compare("RawArray of a million doubles", fill)
