"""Queues and pipes between two processes."""

import statistics
from time import perf_counter

import measure

try:
    import numpy
except ImportError:
    numpy = None


def one_to_one(item, count, size=1 << 20, before=1):
    """One producer, one consumer; what is before is not counted, and says that both are there; size: bytes, for
    who must be told."""

    def run(contestant):
        queue = contestant.Queue(size) if contestant is measure.FasterFifo else contestant.Queue()

        def child():
            for _ in range(before + count):
                queue.put(item)

        process = contestant.Process(target=child)
        process.start()
        for _ in range(before):
            queue.get()
        start = perf_counter()
        for _ in range(count):
            queue.get()
        seconds = perf_counter() - start
        process.join()
        return seconds / count

    return run


def batches(item, count, many):
    """The same with put_many and get_many; where there are none, one at a time."""
    single = one_to_one(item, count)

    def run(contestant):
        if contestant not in (measure.CONTESTANTS["kin"], measure.CONTESTANTS["faster-fifo"]):
            return single(contestant)
        queue, items = contestant.Queue(), [item] * many

        def child():
            queue.put(items[0])
            for _ in range(count // many):
                queue.put_many(items)

        process = contestant.Process(target=child)
        process.start()
        queue.get()
        start = perf_counter()
        left = count // many * many
        while left:
            left -= len(queue.get_many(max_messages_to_get=many)
                        if contestant is measure.FasterFifo else queue.get_many(many))
        seconds = perf_counter() - start
        process.join()
        return seconds / count

    return run


def turn_by_turn(turns, give, take):
    """The median of the turns: p50."""
    times = []
    for i in range(turns):
        start = perf_counter()
        give(i)
        take()
        times.append(perf_counter() - start)
    return statistics.median(times)


def round_trip_queue(contestant):
    """A queue there and a queue back: the median."""
    there, back, turns = contestant.Queue(), contestant.Queue(), 2_000

    def child():
        for _ in range(turns):
            back.put(there.get())

    process = contestant.Process(target=child)
    process.start()
    seconds = turn_by_turn(turns, there.put, back.get)
    process.join()
    return seconds


def round_trip_pipe(contestant):
    """A pipe there and back: the median."""
    ours, theirs = contestant.Pipe()
    turns = 3_000

    def child():
        for _ in range(turns):
            theirs.send(theirs.recv())

    process = contestant.Process(target=child)
    process.start()
    seconds = turn_by_turn(turns, ours.send, ours.recv)
    process.join()
    return seconds


def copies(array, count):
    """The array copied into memory that is there already, and nothing else: what is left without any queue."""
    to = numpy.zeros_like(array)
    start = perf_counter()
    for _ in range(count):
        numpy.copyto(to, array)
    return (perf_counter() - start) / count


def main():
    """All of them."""
    compare, tuple_, bytes_ = measure.compare, (1, "two", 3.0), b"x" * 100
    compare("Queue, small tuples", one_to_one(tuple_, 100_000), multiprocessing=15)
    compare("Queue, 100 bytes", one_to_one(bytes_, 100_000), multiprocessing=15)
    compare("Queue, small tuples, batches of 100", batches(tuple_, 100_000, 100), faster_fifo=10)
    compare("Queue, 100 bytes, batches of 100", batches(bytes_, 100_000, 100), faster_fifo=10)
    compare("Queue, 1 MB", one_to_one(b"x" * 1_000_000, 100, 20 << 20), multiprocessing=3)
    if numpy is not None:
        array = numpy.ones(12_500_000)
        compare("Queue, ten numpy arrays of 100 MB", one_to_one(array, 10, 250 << 20), multiprocessing=20)
        compare("  the next ten", one_to_one(array, 10, 250 << 20, 11), multiprocessing=20)
        measure.least("one copy of one", lambda: copies(array, 10))
    compare("Queue, round trip, p50", round_trip_queue, multiprocessing=5)
    compare("Pipe, round trip, p50", round_trip_pipe, without=("faster-fifo",), multiprocessing=2)


if __name__ == "__main__":
    measure.header()
    main()
