"""Locks, events and conditions, uncontended and between two processes."""

from time import perf_counter

import measure

COUNT = 100_000
TURNS = 3_000


def acquire_release(contestant):
    """acquire() and release()."""
    lock = contestant.Lock()
    start = perf_counter()
    for _ in range(COUNT):
        lock.acquire()
        lock.release()
    return (perf_counter() - start) / COUNT


def two_calls():
    """The same loop with two methods that do nothing: what is left without any lock."""
    empty = []
    start = perf_counter()
    for _ in range(COUNT):
        empty.clear()
        empty.clear()
    return (perf_counter() - start) / COUNT


def with_lock(contestant):
    """The with statement."""
    lock = contestant.Lock()
    start = perf_counter()
    for _ in range(COUNT):
        with lock:
            pass
    return (perf_counter() - start) / COUNT


def event_ping_pong(contestant):
    """Two processes that wake one another in turn."""
    there, back = contestant.Event(), contestant.Event()

    def child():
        for _ in range(TURNS):
            there.wait()
            there.clear()
            back.set()

    process = contestant.Process(target=child)
    process.start()
    start = perf_counter()
    for _ in range(TURNS):
        there.set()
        back.wait()
        back.clear()
    seconds = perf_counter() - start
    process.join()
    return seconds / TURNS


def condition_ping_pong(contestant):
    """The same with one condition and a number that says whose turn it is."""
    condition, turn = contestant.Condition(), contestant.Value("i", 0, lock=False)

    def play(mine):
        for _ in range(TURNS):
            with condition:
                while turn.value != mine:
                    condition.wait()
                turn.value = 1 - mine
                condition.notify()

    process = contestant.Process(target=play, args=(1,))
    process.start()
    start = perf_counter()
    play(0)
    seconds = perf_counter() - start
    process.join()
    return seconds / TURNS


def main():
    """All of them."""
    without = ("faster-fifo",)
    measure.compare("Lock, acquire and release", acquire_release, without=without, multiprocessing=2)
    measure.least("two methods that do nothing", two_calls)
    measure.compare("with lock", with_lock, without=without, multiprocessing=2)
    measure.compare("Event, ping-pong", event_ping_pong, without=without, multiprocessing=3)
    measure.compare("Condition, ping-pong", condition_ping_pong, without=without, multiprocessing=3)


if __name__ == "__main__":
    measure.header()
    main()
