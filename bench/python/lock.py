"""Locks and events, uncontended and between two processes: kin beside multiprocessing."""

from time import perf_counter

from measure import compare

COUNT = 100_000
TURNS = 3_000


def acquire_release(context):
    """acquire() and release()."""
    lock = context.Lock()
    start = perf_counter()
    for _ in range(COUNT):
        lock.acquire()
        lock.release()
    return (perf_counter() - start) / COUNT


def with_lock(context):
    """The with statement."""
    lock = context.Lock()
    start = perf_counter()
    for _ in range(COUNT):
        with lock:
            pass
    return (perf_counter() - start) / COUNT


def event_ping_pong(context):
    """Two processes that wake one another in turn."""
    there, back = context.Event(), context.Event()

    def child():
        for _ in range(TURNS):
            there.wait()
            there.clear()
            back.set()

    process = context.Process(target=child)
    process.start()
    start = perf_counter()
    for _ in range(TURNS):
        there.set()
        back.wait()
        back.clear()
    seconds = perf_counter() - start
    process.join()
    return seconds / TURNS


if __name__ == "__main__":
    compare("Lock acquire+release", acquire_release)
    compare("with Lock", with_lock)
    compare("Event ping-pong", event_ping_pong)
