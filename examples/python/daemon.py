"""A daemon works in the background and ends with the program; an ordinary child is waited for."""

import time
from multiprocessing import Process, SimpleQueue, current_process


def tick(ticks):
    """For ever."""
    while True:
        ticks.put(current_process().name)
        time.sleep(0.001)


if __name__ == "__main__":
    ticks = SimpleQueue()
    clock = Process(target=tick, args=(ticks,), name="clock", daemon=True)
    clock.start()
    print([ticks.get() for _ in range(3)])
    print("daemon:", clock.daemon, "alive:", clock.is_alive())
    clock.terminate()
    clock.join()
    print("exit code:", clock.exitcode)
    Process(target=tick, args=(ticks,), daemon=True).start()  # ends with us
