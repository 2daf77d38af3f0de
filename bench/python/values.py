"""Values and arrays."""

import array
from time import perf_counter

import measure

COUNT = 50_000
ITEMS = 1_000_000


def locked_add(contestant):
    """One more under the lock."""
    value = contestant.Value("l", 0)
    start = perf_counter()
    for _ in range(COUNT):
        with value.get_lock():
            value.value += 1
    return (perf_counter() - start) / COUNT


def add(contestant):
    """One more: an atomic step where there is one, or under the lock."""
    value = contestant.Value("l", 0)
    if not hasattr(value, "add"):
        return locked_add(contestant)
    start = perf_counter()
    for _ in range(COUNT):
        value.add(1)
    seconds = perf_counter() - start
    assert value.value == COUNT
    return seconds / COUNT


def fill(contestant):
    """A million doubles from an array of the standard library."""
    items = array.array("d", range(ITEMS))
    start = perf_counter()
    contestant.RawArray("d", items)
    return perf_counter() - start


def copy_out(contestant):
    """A million doubles into an array of the standard library."""
    shared, items = contestant.RawArray("d", range(ITEMS)), array.array("d", bytes(8 * ITEMS))
    start = perf_counter()
    memoryview(items).cast("B")[:] = memoryview(shared).cast("B")
    return perf_counter() - start


def main():
    """All of them."""
    without = ("faster-fifo",)
    measure.compare("Value, one more", add, without=without, multiprocessing=10)
    measure.compare("Value, one more under its lock", locked_add, without=without)
    measure.compare("RawArray of a million doubles", fill, without=without)
    measure.compare("a million doubles copied out", copy_out, without=without)


if __name__ == "__main__":
    measure.header()
    main()
