"""Runners wait for the starting shot, and the referee for all of them to be ready."""

from multiprocessing import Condition, Event, Process, Queue, Value

RUNNERS = 3


def run(number, condition, ready, shot, finished):
    """Say that we are ready, then run when the shot is heard."""
    with condition:
        ready.value += 1
        condition.notify_all()
    shot.wait()
    finished.put(number)


if __name__ == "__main__":
    condition, ready, shot, finished = Condition(), Value("i", 0), Event(), Queue()
    runners = [
        Process(target=run, args=(number, condition, ready, shot, finished))
        for number in range(RUNNERS)
    ]
    for runner in runners:
        runner.start()
    with condition:
        condition.wait_for(lambda: ready.value == RUNNERS)
    print("all ready:", ready.value, "shot:", shot.is_set())
    shot.set()
    print("finished:", sorted(finished.get() for _ in runners))
    for runner in runners:
        runner.join()
