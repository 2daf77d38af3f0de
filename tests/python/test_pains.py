"""What users of multiprocessing suffer, each as it happens to them; with kin it does not."""

import os
import pickle
import signal
import subprocess
import sys
import threading
import time
from queue import Empty, Full

import pytest

import kin


def kill_self():
    """So that no handler can run."""
    os.kill(os.getpid(), signal.SIGKILL)


def start_waiting(context, wait, count):
    """Children that are told about and then wait; returned when all of them are about to."""
    ready = context.Semaphore(0)

    def child():
        ready.release()
        wait()

    children = [context.Process(target=child) for _ in range(count)]
    for process in children:
        process.start()
        ready.acquire()
    return children


def test_notify_all_after_a_waiter_was_killed(only_kin):
    condition, turn = only_kin.Condition(), only_kin.Value("i", 0)

    def wait():
        with condition:
            turn.value += 1
            condition.wait_for(lambda: turn.value == 100)

    children = start_waiting(only_kin, wait, 3)
    while turn.value < 3:
        time.sleep(0.001)
    children[1].kill()
    children[1].join()
    with condition:
        turn.value = 100
        condition.notify_all()
    for process in children[::2]:
        process.join()
        assert process.exitcode == 0


def test_event_set_after_a_waiter_was_killed(only_kin):
    event = only_kin.Event()
    children = start_waiting(only_kin, event.wait, 3)
    children[0].kill()
    children[0].join()
    event.set()
    for process in children[1:]:
        process.join()
        assert process.exitcode == 0


def test_event_set_in_a_signal_handler(only_kin):
    """While the same thread is in a call of the same event."""
    event, rounds = only_kin.Event(), []

    def on_alarm(*_):
        event.set()
        rounds.append(1)

    before = signal.signal(signal.SIGALRM, on_alarm)
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.001, 0.001)
        while len(rounds) < 100:
            event.wait()
            event.clear()
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def test_join_before_the_queue_is_drained(only_kin):
    queue = only_kin.Queue()
    process = only_kin.Process(target=lambda: [queue.put(b"x" * 100_000) for _ in range(100)])
    process.start()
    process.join()
    assert process.exitcode == 0
    assert sum(len(queue.get()) for _ in range(100)) == 10_000_000


def test_what_was_put_survives_who_put_it(only_kin):
    queue = only_kin.Queue()

    def child():
        queue.put("the last words")
        os._exit(1)

    process = only_kin.Process(target=child)
    process.start()
    process.join()
    assert queue.get_nowait() == "the last words"


class Unloadable(Exception):
    """As exceptions of many libraries: it cannot be made again from its args."""

    def __init__(self, first, second):
        super().__init__(f"{first} and {second}")


def fail(_):
    """A task."""
    raise Unloadable("one", "two")


def leave(code):
    """A task that means to end its worker."""
    sys.exit(code)


def double(number):
    """A task that works."""
    return 2 * number


def test_an_exception_that_cannot_be_unpickled(only_kin):
    with pytest.raises(TypeError):
        pickle.loads(pickle.dumps(Unloadable("one", "two")))
    with only_kin.Pool(2) as pool:
        result = pool.apply_async(fail, (0,))
        with pytest.raises(Exception) as caught:
            result.get(30)
        assert not isinstance(caught.value, kin.TimeoutError)
        assert pool.map(double, range(10)) == [2 * n for n in range(10)]


def test_a_task_that_ends_its_worker(only_kin):
    with only_kin.Pool(2) as pool:
        result = pool.apply_async(leave, (3,))
        with pytest.raises((SystemExit, kin.pool.WorkerLostError)):
            result.get(30)
        assert pool.map(double, range(10)) == [2 * n for n in range(10)]


def test_sizes_agree(only_kin):
    queue = only_kin.Queue(3)
    for size in range(3):
        assert (queue.qsize(), queue.empty(), queue.full()) == (size, size == 0, False)
        queue.put(size)
    assert (queue.qsize(), queue.empty(), queue.full()) == (3, False, True)
    for size in (2, 1, 0):
        queue.get()
        assert (queue.qsize(), queue.empty(), queue.full()) == (size, size == 0, False)


def test_a_queue_may_be_long(only_kin):
    queue = only_kin.Queue(1_000_000)
    assert queue.put_many(range(100_000)) == 100_000
    assert queue.qsize() == 100_000 and not queue.full()


@pytest.mark.parametrize("wait", ["get", "put", "acquire", "event", "condition", "poll", "join"])
def test_a_signal_does_not_shorten_a_timeout(only_kin, wait):
    """What has a timeout goes on when the handler has run (PEP 475)."""
    queue, lock, condition = only_kin.Queue(1), only_kin.Lock(), only_kin.Condition()
    ours, theirs = only_kin.Pipe()
    process = only_kin.Process(target=signal.pause)
    handled = []
    before = signal.signal(signal.SIGALRM, lambda *_: handled.append(time.monotonic()))
    process.start()
    try:
        with lock, condition:
            seconds, start = 0.3, time.monotonic()
            signal.setitimer(signal.ITIMER_REAL, 0.02, 0.02)
            if wait == "get":
                pytest.raises(Empty, queue.get, True, seconds)
            elif wait == "put":
                queue.put(1)
                pytest.raises(Full, queue.put, 2, True, seconds)
            elif wait == "acquire":
                assert not lock.acquire(timeout=seconds)
            elif wait == "event":
                assert not only_kin.Event().wait(seconds)
            elif wait == "condition":
                assert not condition.wait(seconds)
            elif wait == "poll":
                assert not ours.poll(seconds)
            else:
                process.join(seconds)
                assert process.is_alive()
            end = time.monotonic()
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
        process.kill()
        process.join()
        theirs.close()
    assert end - start >= seconds and handled


def test_fork_while_threads_are_busy(only_kin):
    """Children are forked while other threads hold locks inside kin; none of them hangs. (Nothing of
    Python's is used by both: without the interpreter lock that may be held for ever in a child.)"""
    queue, lock, stop = only_kin.Queue(), only_kin.Lock(), threading.Event()

    def work():
        while not stop.is_set():
            with lock:
                queue.put(b"x" * 5000)
            queue.get()

    def child(lock, queue):
        with lock:
            queue.put("child")
        queue.get()

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    children = [only_kin.Process(target=child, args=(lock, queue)) for _ in range(30)]
    for process in children:
        process.start()
    for process in children:
        process.join()
    stop.set()
    for thread in threads:
        thread.join()
    assert [process.exitcode for process in children] == [0] * len(children)


KILLED = """
import os, signal
from multiprocessing import Lock, Queue, Value, Array, Event, Process
if __name__ == "__main__":
    things = [Lock(), Queue(), Value("i", 1), Array("d", 1000), Event()]
    things[1].put(b"x" * 1_000_000)
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_nothing_is_left_and_nobody_complains(tmp_path):
    """No file in /dev/shm, and no words about leaked objects."""
    program = tmp_path / "killed.py"
    program.write_text(KILLED)
    before = set(os.listdir("/dev/shm"))
    done = subprocess.run(
        [sys.executable, "-m", "kin", program], capture_output=True, text=True, timeout=60,
        env=os.environ, check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (-signal.SIGKILL, "", "")
    assert not [name for name in set(os.listdir("/dev/shm")) - before if "kin" in name]
