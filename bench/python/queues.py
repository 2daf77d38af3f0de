"""Queues and pipes between two processes: kin beside multiprocessing."""

from time import perf_counter

from measure import compare


def one_to_one(item, count, many=0):
    """One producer, one consumer; many: with put_many and get_many where there are any."""

    def run(context):
        queue = context.Queue()
        batches = many and hasattr(queue, "put_many")

        def child():
            if batches:
                for _ in range(count // many):
                    queue.put_many([item] * many)
            else:
                for _ in range(count):
                    queue.put(item)

        process = context.Process(target=child)
        start = perf_counter()
        process.start()
        if batches:
            left = count // many * many
            while left:
                left -= len(queue.get_many(many))
        else:
            for _ in range(count):
                queue.get()
        seconds = perf_counter() - start
        process.join()
        return seconds / count

    return run


def round_trip_queue(context):
    """A queue there and a queue back."""
    there, back, turns = context.Queue(), context.Queue(), 2_000

    def child():
        for _ in range(turns):
            back.put(there.get())

    process = context.Process(target=child)
    process.start()
    start = perf_counter()
    for i in range(turns):
        there.put(i)
        back.get()
    seconds = perf_counter() - start
    process.join()
    return seconds / turns


def round_trip_pipe(context):
    """A pipe there and back."""
    ours, theirs = context.Pipe()
    turns = 3_000

    def child():
        for _ in range(turns):
            theirs.send(theirs.recv())

    process = context.Process(target=child)
    process.start()
    start = perf_counter()
    for i in range(turns):
        ours.send(i)
        ours.recv()
    seconds = perf_counter() - start
    process.join()
    return seconds / turns


if __name__ == "__main__":
    compare("Queue, small tuples", one_to_one((1, "two", 3.0), 20_000))
    compare("Queue, 100 bytes", one_to_one(b"x" * 100, 20_000))
    compare("Queue, 100 bytes, kin's batches", one_to_one(b"x" * 100, 20_000, many=100))
    compare("Queue, 1 MB", one_to_one(b"x" * 1_000_000, 100))
    compare("Queue round trip", round_trip_queue)
    compare("Pipe round trip", round_trip_pipe)
