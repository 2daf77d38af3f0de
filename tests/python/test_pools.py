"""Pools and executors of the standard library on kin's queues and locks."""

import concurrent.futures
import concurrent.futures.process
import multiprocessing
import os
import random
import signal
import subprocess
import sys
import threading
import time

import pytest

import kin
import kin.popen
from kin import _kin
from kin.pool import WorkerLostError


def square(x):
    """A task."""
    return x * x


def slow_square(x):
    """A task that may be killed in the middle."""
    time.sleep(0.0003)
    return x * x


def kill_self(x):
    """A task that is the end of its worker."""
    if x == 3:
        os.kill(os.getpid(), signal.SIGKILL)
    return x


def leave(x):
    """A task that ends its worker without a signal."""
    os._exit(x)


def fail(x):
    """A task that raises."""
    raise LookupError(x)


def start(value):
    """An initializer."""
    global started
    started = value


def get_started(_):
    """What the initializer was given."""
    return started


class Unpicklable:
    """Not to be sent."""

    def __reduce__(self):
        raise LookupError("not this one")


def make_unpicklable(_):
    """A result that cannot be sent."""
    return Unpicklable()


# --- Pool -----------------------------------------------------------------------------------------


def test_map_and_its_like(mp):
    with mp.Pool(3) as pool:
        assert pool.map(square, range(100)) == [x * x for x in range(100)]
        assert pool.apply(square, (7,)) == 49
        assert pool.apply_async(square, (8,)).get(30) == 64
        assert pool.starmap(pow, [(2, 3), (3, 2)]) == [8, 9]
        assert list(pool.imap(square, range(50), chunksize=7)) == [x * x for x in range(50)]
        assert sorted(pool.imap_unordered(square, range(50))) == [x * x for x in range(50)]
        assert pool.map(square, []) == []


def test_errors_of_tasks(mp):
    with mp.Pool(2) as pool:
        with pytest.raises(LookupError):
            pool.map(fail, [1])
        with pytest.raises(multiprocessing.pool.MaybeEncodingError):
            pool.apply(make_unpicklable, (1,))
        with pytest.raises(LookupError):
            pool.apply(square, (Unpicklable(),))
        assert pool.apply(square, (3,)) == 9


def test_close_join_and_terminate(mp):
    pool = mp.Pool(2, start, ("hello",), maxtasksperchild=2)
    results = pool.map_async(get_started, range(9), chunksize=1)
    pool.close()
    pool.join()
    assert results.get(30) == ["hello"] * 9
    with pytest.raises(ValueError):
        pool.apply(square, (1,))
    pool = mp.Pool(2)
    pool.map_async(threading.Event().wait, [30] * 100)
    pool.terminate()
    pool.join()


def test_a_killed_worker_fails_its_task_only(only_kin):
    with only_kin.Pool(2) as pool:
        results = [pool.apply_async(kill_self, (x,)) for x in range(10)]
        for x, result in enumerate(results):
            if x == 3:
                with pytest.raises(WorkerLostError, match="SIGKILL"):
                    result.get(30)
            else:
                assert result.get(30) == x
        with pytest.raises(WorkerLostError, match="exit code 5"):
            pool.apply(leave, (5,))
        with pytest.raises(WorkerLostError):
            pool.map(kill_self, range(10))
        assert pool.map(square, range(10)) == [x * x for x in range(10)]


def test_workers_that_are_killed_at_random(only_kin):
    """Every task has a result, or is said to be lost."""
    seed = random.getrandbits(32)
    print("seed", seed)
    source = random.Random(seed)
    results = lost = kills = 0
    with only_kin.Pool(3) as pool:
        while kills < 100:
            tasks = [pool.apply_async(slow_square, (x,)) for x in range(50)]
            tasks.append(pool.map_async(slow_square, range(50), chunksize=5))
            for _ in range(5):
                time.sleep(source.random() / 500)
                worker = source.choice(list(pool._pool) or [None])
                if worker is not None:
                    worker.kill()
                    kills += 1
            for x, task in enumerate(tasks):
                try:
                    assert task.get(30) == (x * x if x < 50 else [y * y for y in range(50)])
                    results += 1
                except WorkerLostError:
                    lost += 1
    print(results, "results", lost, "lost", kills, "kills")


def test_idle_workers_that_are_killed(only_kin):
    with only_kin.Pool(3) as pool:
        assert pool.map(square, range(10)) == [x * x for x in range(10)]
        for _ in range(3):
            for worker in list(pool._pool):
                worker.kill()
                worker.join()
            assert pool.map_async(square, range(10)).get(30) == [x * x for x in range(10)]


def test_tasks_for_a_pool_whose_workers_are_all_gone(only_kin):
    with only_kin.Pool(2) as pool:
        workers, pool._pool[:] = list(pool._pool), []
        try:
            results = pool.map_async(square, iter(range(9)))
            nothing = pool.map_async(square, [])
        finally:
            pool._pool.extend(workers)
        assert results.get(30) == [x * x for x in range(9)] and nothing.get(30) == []


class Unloadable:
    """It can be pickled, and calls that when it is loaded."""

    def __init__(self, function, *args):
        self.calls = function, args

    def __reduce__(self):
        return self.calls


class Peculiar(Exception):
    """One that cannot be pickled."""

    def __reduce__(self):
        raise RuntimeError("not this one")


def interrupt(what):
    """As when a key is hit."""
    raise what


def make_objects(function):
    """An array of numpy of which one item calls that when it is loaded."""
    import numpy

    return numpy.array([Unloadable(function, 5)], dtype=object)


def test_a_needless_answer_at_the_end(only_kin):
    """When there are no tasks any more the pool takes what lies there, and waits for nothing."""
    pool = only_kin.Pool(1)
    result = pool.apply_async(square, (3,))
    assert result.get(30) == 9
    again = (result._job, 0, (False, WorkerLostError("a colleague has said so already")))
    last = [_kin.pack(None), _kin.pack(again)]
    pool._outqueue.put = lambda end: pool._outqueue._put_many(last, True, None)
    pool.close()
    pool.join()


def test_an_array_of_objects_that_cannot_be_loaded(only_kin):
    numpy = pytest.importorskip("numpy")
    with only_kin.Pool(2) as pool:
        with pytest.raises(kin.pool.MaybeEncodingError):
            pool.apply_async(make_objects, (fail,)).get(30)
        assert list(pool.apply_async(make_objects, (square,)).get(30)) == [25]
        assert list(pool.apply_async(numpy.arange, (3,)).get(30)) == [0, 1, 2]


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_a_task_that_cannot_be_loaded(method):
    with kin.get_context(method).Pool(2) as pool:
        for function, error in (fail, LookupError), (leave, WorkerLostError):
            with pytest.raises(error):
                pool.apply_async(square, (Unloadable(function, 5),)).get(30)
        with pytest.raises(WorkerLostError, match="exit code 1"):
            pool.apply_async(square, (Unloadable(interrupt, KeyboardInterrupt),)).get(30)
        with pytest.raises(kin.pool.MaybeEncodingError):
            pool.apply_async(square, (Unloadable(interrupt, Unloadable(Peculiar)),)).get(30)
        with pytest.raises(OSError):  # which is not the end of the queue of tasks
            pool.map_async(abs, [1, Unloadable(interrupt, OSError), 3], 1).get(30)
        assert pool.map_async(square, range(9)).get(30) == [x * x for x in range(9)]


def test_a_worker_that_cannot_be_replaced_at_once(only_kin, monkeypatch):
    """No process is to be had for a while: the pool waits until there is one, and goes on."""
    errors, fork = [OSError(11, "no process"), MemoryError("no memory")] * 2, kin.popen._fork

    def fork_later(*args):
        if errors:
            raise errors.pop()
        return fork(*args)

    with only_kin.Pool(1) as pool:
        assert pool.apply(square, (2,)) == 4
        monkeypatch.setattr(kin.popen, "_fork", fork_later)
        with pytest.raises(WorkerLostError):
            pool.apply_async(leave, (5,)).get(30)
        assert pool.apply_async(square, (3,)).get(30) == 9
        assert not errors
        errors += [OSError(11, "no process")] * 1000
        with pytest.raises(WorkerLostError):
            pool.apply_async(leave, (5,)).get(30)
    pool.join()


@pytest.mark.parametrize("which", ["first worker", "second worker", 0, 1, 2])
def test_a_pool_that_cannot_be_made(only_kin, monkeypatch, which):
    """Neither a thread nor a worker is left of it."""
    started, fork, start_thread = [], kin.popen._fork, threading.Thread.start

    def fork_or_fail(*args):
        if which == ("second worker" if started else "first worker"):
            raise OSError(11, "no process")
        started.append("worker")
        return fork(*args)

    def start_or_fail(thread):
        if started.count("thread") == which:
            raise RuntimeError("can't start new thread")
        started.append("thread")
        start_thread(thread)

    threads = threading.active_count()
    monkeypatch.setattr(kin.popen, "_fork", fork_or_fail)
    monkeypatch.setattr(threading.Thread, "start", start_or_fail)
    with pytest.raises((OSError, RuntimeError)):
        only_kin.Pool(2)
    assert multiprocessing.active_children() == [] and threading.active_count() == threads


def test_the_pool_of_the_standard_library_on_our_context(only_kin):
    with multiprocessing.pool.Pool(2, context=only_kin) as pool:
        assert pool.map(square, range(10)) == [x * x for x in range(10)]
        assert type(pool._inqueue).__module__ == "kin.queues"


# --- ProcessPoolExecutor ----------------------------------------------------------------------


@pytest.fixture
def executor(mp):
    """One with two workers."""
    with concurrent.futures.ProcessPoolExecutor(2, mp_context=mp) as executor:
        yield executor


def test_submit_and_map(executor):
    assert executor.submit(square, 5).result(30) == 25
    assert list(executor.map(square, range(200), chunksize=3)) == [x * x for x in range(200)]
    with pytest.raises(LookupError):
        executor.submit(fail, 1).result(30)
    futures = [executor.submit(square, x) for x in range(50)]
    done = concurrent.futures.as_completed(futures, timeout=30)
    assert sorted(f.result() for f in done) == [x * x for x in range(50)]


def test_a_call_that_cannot_be_pickled(executor):
    with pytest.raises(LookupError):
        executor.submit(square, Unpicklable()).result(30)
    with pytest.raises(LookupError):
        executor.submit(make_unpicklable, 1).result(30)
    assert executor.submit(square, 4).result(30) == 16


def test_a_killed_worker_breaks_the_executor(executor):
    with pytest.raises(concurrent.futures.process.BrokenProcessPool):
        executor.submit(kill_self, 3).result(30)
    with pytest.raises(concurrent.futures.process.BrokenProcessPool):
        executor.submit(square, 3)


def test_an_idle_worker_is_killed(executor):
    assert executor.submit(square, 5).result(30) == 25
    for process in list(executor._processes.values()):
        process.kill()
    with pytest.raises(concurrent.futures.process.BrokenProcessPool):
        for _ in range(1000):
            executor.submit(square, 3).result(30)


def test_shutdown_at_once(mp):
    for _ in range(20):
        executor = concurrent.futures.ProcessPoolExecutor(2, mp_context=mp)
        future = executor.submit(square, 2)
        executor.shutdown(wait=True)
        assert future.result() == 4


def test_calls_go_through_our_queue():
    context = kin.get_context("fork")
    with concurrent.futures.ProcessPoolExecutor(1, mp_context=context) as executor:
        assert executor.submit(square, 3).result(30) == 9
        assert isinstance(executor._call_queue, kin.queues.Queue)
        assert isinstance(executor._result_queue, kin.queues.SimpleQueue)


THREADLESS = """
import concurrent.futures, gc, sys, threading
import kin

def fail(thread):
    raise RuntimeError("can't start new thread")

start, threading.Thread.start = threading.Thread.start, fail
executor = concurrent.futures.ProcessPoolExecutor(2, mp_context=kin.get_context("fork"))
try:
    executor.submit(abs, -1)
except RuntimeError:
    print(len(kin.active_children()), flush=True)
threading.Thread.start = start
if sys.argv[1] == "forget":
    workers = kin.active_children()
    del executor
    gc.collect()
    for worker in workers:
        worker.join()
    assert [worker.exitcode for worker in workers] == [0, 0]
"""


@pytest.mark.parametrize("way", ["forget", "exit"])
def test_an_executor_that_cannot_start_its_thread(way):
    """Its workers end with it, and the program ends."""
    done = subprocess.run(
        [sys.executable, "-c", THREADLESS, way], env=os.environ, capture_output=True, text=True,
        timeout=60, check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "2\n", "")


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_executors_on_other_contexts_are_left_alone(method):
    kin.get_start_method()  # executors are adopted by now
    context = multiprocessing.get_context(method)
    with concurrent.futures.ProcessPoolExecutor(1, mp_context=context) as executor:
        assert executor.submit(square, 3).result(30) == 9
        assert not isinstance(executor._call_queue, kin.queues.Queue)
