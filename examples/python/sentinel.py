"""A producer and two consumers; None tells a consumer that nothing more will come."""

from multiprocessing import Process, Queue

CONSUMERS = 2


def produce(queue):
    """A hundred numbers, then a sentinel for each consumer."""
    for number in range(100):
        queue.put(number)
    for _ in range(CONSUMERS):
        queue.put(None)


def consume(queue, results):
    """Squares until the sentinel comes."""
    total = 0
    while (number := queue.get()) is not None:
        total += number * number
    results.put(total)


if __name__ == "__main__":
    queue, results = Queue(), Queue()
    processes = [Process(target=produce, args=(queue,))]
    processes += [Process(target=consume, args=(queue, results)) for _ in range(CONSUMERS)]
    for process in processes:
        process.start()
    print("sum of squares:", sum(results.get() for _ in range(CONSUMERS)))
    for process in processes:
        process.join()
