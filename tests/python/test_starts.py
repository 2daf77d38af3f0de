"""Handles that are pickled: to children of every start method, and through queues and pipes."""

import concurrent.futures
import gc
import multiprocessing
import multiprocessing.forkserver as forkserver
import os
import pickle
import signal
import subprocess
import sys
import threading
import time
from multiprocessing import resource_sharer

import pytest

import kin

METHODS = ["fork", "spawn", "forkserver"]


@pytest.fixture(params=METHODS)
def ours(request):
    """A context of kin."""
    yield kin.get_context(request.param)
    for child in multiprocessing.active_children():
        child.kill()
        child.join()


@pytest.fixture(params=METHODS)
def both(request, mp):
    """A context of the standard library, then of kin."""
    return type(mp).get_context(mp, request.param) if "kin" in type(mp).__module__ else (
        multiprocessing.get_context(request.param)
    )


def run(context, target, *args):
    """In a child, to its end."""
    process = context.Process(target=target, args=args)
    process.start()
    process.join(60)
    assert process.exitcode == 0


# --- children ---------------------------------------------------------------------------------


def use_locks(lock, rlock, semaphore, bounded, event):
    """In a child: each is held by the parent, or wanted by it."""
    assert not lock.acquire(block=False) and not rlock.acquire(block=False)
    assert semaphore.acquire(timeout=30) and not semaphore.acquire(block=False)
    bounded.release()
    with pytest.raises(ValueError):
        bounded.release()
    event.set()


def test_locks(both):
    lock, rlock, event = both.Lock(), both.RLock(), both.Event()
    semaphore, bounded = both.Semaphore(1), both.BoundedSemaphore(1)
    lock.acquire(), rlock.acquire(), bounded.acquire()
    run(both, use_locks, lock, rlock, semaphore, bounded, event)
    assert event.is_set() and bounded.acquire(block=False)


def use_condition(condition, barrier, value):
    """In a child."""
    with condition:
        value.value = 1
        condition.notify()
        assert condition.wait_for(lambda: value.value == 2, timeout=30)
    barrier.wait(30)


def test_condition_and_barrier(both):
    condition, barrier, value = both.Condition(), both.Barrier(2, timeout=30), both.Value("i", 0)
    process = both.Process(target=use_condition, args=(condition, barrier, value))
    process.start()
    with condition:
        assert condition.wait_for(lambda: value.value == 1, timeout=30)
        value.value = 2
        condition.notify()
    barrier.wait()
    process.join()
    assert process.exitcode == 0


def use_channels(queue, simple, joinable, end):
    """In a child."""
    assert queue.get() == 1 and simple.get() == 2 and joinable.get() == 3
    joinable.task_done()
    end.send([queue.empty(), simple.empty()])
    queue.put("from the child")
    queue.close()
    queue.join_thread()


def test_channels(both):
    queue, simple, joinable = both.Queue(5), both.SimpleQueue(), both.JoinableQueue()
    end, other = both.Pipe()
    queue.put(1), simple.put(2), joinable.put(3)
    process = both.Process(target=use_channels, args=(queue, simple, joinable, other))
    process.start()
    other.close()
    assert end.recv() == [True, True]
    with pytest.raises(EOFError):
        end.recv()
    assert queue.get(timeout=30) == "from the child"
    joinable.join()
    process.join()


def use_memory(value, array, raw, text):
    """In a child."""
    with value.get_lock(), array.get_lock():
        value.value += 1
        array[0], raw[1], text.value = 7, 8, b"bye"


def test_memory(both):
    value, array = both.Value("d", 1.5), both.Array("i", 2)
    raw, text = both.RawArray("q", 2), both.Array("c", b"hello")
    run(both, use_memory, value, array, raw, text)
    assert value.value == 2.5 and array[:] == [7, 0] and raw[:] == [0, 8] and text.value == b"bye"


class Gate:
    """Who unpickles it waits until somebody opens it."""

    def __init__(self, path):
        self.path = str(path)
        os.mkfifo(path)

    def __reduce__(self):
        return pass_gate, (self.path,)

    def open(self):
        """From here on."""
        os.close(os.open(self.path, os.O_WRONLY))


def pass_gate(path):
    """As a function, so that it is found by name."""
    os.close(os.open(path, os.O_RDONLY))


def use_all(gate, locks, event, barrier, condition, queues, numbers, end):
    """In a child: its parent has dropped all of it before the child opened it."""
    for lock in locks:
        with lock:
            pass
    with condition:
        condition.notify_all()
    assert event.is_set() and barrier.wait() == 0
    assert [queue.get(timeout=30) for queue in queues] == [(1, "one")] * len(queues)
    assert [getattr(number, "value", 7) for number in numbers] == [7] * len(numbers)
    assert numbers[1][:] == [0, 7]
    if end is not None:
        end.send("from a child")


def drop_all(process, gate):
    """Start it, and give its arguments up before it has them."""
    process.start()
    gc.collect()
    if process._start_method != "fork":
        gate.open()
    process.join(60)
    assert process.exitcode == 0


def filled(queues):
    """With one item in each."""
    for queue in queues:
        queue.put((1, "one"))
    return queues


def test_kept_for_the_child(ours, tmp_path):
    gate = Gate(tmp_path / "gate")
    here, there = ours.Pipe()
    event, number, array = ours.Event(), ours.Value("i", 7), ours.Array("i", [0, 7])
    event.set()
    locks = [ours.Lock(), ours.RLock(), ours.Semaphore(2), ours.BoundedSemaphore(1)]
    queues = filled([ours.Queue(), ours.JoinableQueue(), ours.SimpleQueue(), ours.LifoQueue(),
                     ours.PriorityQueue()])  # fmt: skip
    numbers = [number, array, ours.RawValue("i", 7), ours.RawArray("i", [7])]
    process = ours.Process(
        target=use_all,
        args=(gate, locks, event, ours.Barrier(1), ours.Condition(), queues, numbers, there),
    )
    del event, number, array, locks, queues, numbers, there
    drop_all(process, gate)
    assert here.recv() == "from a child"


def test_kept_for_the_child_by_name(ours, tmp_path):
    gate = Gate(tmp_path / "gate")
    before = len(resource_sharer._resource_sharer._cache)
    arena = kin.open("kept-%d-%s" % (os.getpid(), ours.get_start_method()))
    event, number, array = arena.event("e"), arena.value("v", "i"), arena.array("a", "i", 2)
    event.set()
    number.value = array[1] = 7
    locks = [arena.lock("l"), arena.rlock("r"), arena.semaphore("s", 2)]
    queues = filled([arena.queue("q"), arena.joinable_queue("j"), arena.priority_queue("p")])
    condition = arena.condition("c", arena.lock("of c"))
    process = ours.Process(
        target=use_all,
        args=(gate, locks, event, arena.barrier("b", 1), condition, queues, [number, array], None),
    )
    del event, number, array, locks, queues, condition
    drop_all(process, gate)
    while len(resource_sharer._resource_sharer._cache) > before:  # it is not kept for ever
        time.sleep(0.01)


def hold(lock, end):
    """In a child that is killed."""
    lock.acquire()
    end.send("held")
    signal.pause()


def test_a_child_that_is_killed(ours):
    lock = ours.Lock()
    end, other = ours.Pipe()
    process = ours.Process(target=hold, args=(lock, other))
    process.start()
    other.close()
    assert end.recv() == "held"
    process.kill()
    assert lock.acquire(timeout=30) and lock.abandoned == 1
    with pytest.raises(EOFError):
        end.recv()
    process.join()


def test_a_join_looks_after_the_dead(ours):
    kin._kin.arena_reap()  # those of earlier tests
    before = kin._kin.arena_stat()
    lock = ours.Lock()
    end, other = ours.Pipe()
    process = ours.Process(target=hold, args=(lock, other))
    process.start()
    assert end.recv() == "held" and lock.locked()
    process.kill()
    process.join()
    after = kin._kin.arena_stat()  # nobody has waited for an object since it died
    assert after["deaths_count"] == before["deaths_count"] + 1
    assert after["participants_count"] == before["participants_count"]


def grandparent(method, queue):
    """In a child, which has a child."""
    forkserver.ensure_running.__self__.__init__()  # that of our parent is not our child
    context = kin.get_context(method)
    process = context.Process(target=queue.put, args=("from the grandchild",))
    process.start()
    process.join(60)


@pytest.mark.parametrize("method", METHODS)
def test_grandchildren(ours, method):
    queue = ours.Queue()
    run(ours, grandparent, method, queue)
    assert queue.get(timeout=30) == "from the grandchild"


def square(x):
    """A task."""
    return x * x


def kill_self():
    """A task."""
    os.kill(os.getpid(), signal.SIGKILL)


def test_pools(ours):
    with ours.Pool(2) as pool:
        assert pool.map(square, range(20)) == [x * x for x in range(20)]
        with pytest.raises(kin.pool.WorkerLostError):
            pool.apply(kill_self)
        assert pool.apply(square, (4,)) == 16


def test_executors(ours):
    with concurrent.futures.ProcessPoolExecutor(2, mp_context=ours) as executor:
        assert list(executor.map(square, range(20))) == [x * x for x in range(20)]
        assert isinstance(executor._call_queue, kin.queues.Queue)
        with pytest.raises(concurrent.futures.process.BrokenProcessPool):
            executor.submit(kill_self).result(30)


# --- through queues and pipes -----------------------------------------------------------------


def serve(requests):
    """In a child: answers in the queues that come with the requests."""
    while (request := requests.get()) is not None:
        number, answers, lock, value = request
        with lock:
            value.add(number)
        answers.put(number * 2)


def test_handles_travel(ours):
    requests = ours.Queue()
    process = ours.Process(target=serve, args=(requests,))
    process.start()
    lock, value = ours.Lock(), ours.Value("i", 0)
    for number in range(10):
        answers = ours.SimpleQueue()
        requests.put((number, answers, lock, value))
        assert answers.get() == number * 2
    assert value.value == 45
    requests.put(None)
    process.join()


def test_a_connection_travels(only_kin):
    queue = only_kin.Queue()
    ours, theirs = only_kin.Pipe()
    queue.put(theirs)
    got = queue.get()
    got.send("hello")
    assert ours.recv() == "hello"
    got.close()
    assert not ours.poll(0.01)  # the first handle of that end is open still
    theirs.close()
    with pytest.raises(EOFError):
        ours.recv()


def test_a_handle_of_what_is_gone():
    queue = kin.Queue()
    text = pickle.dumps(queue)
    assert pickle.loads(text).empty()
    del queue
    with pytest.raises(RuntimeError, match="gone"):
        pickle.loads(text)


def test_strangers_are_refused():
    text = pickle.dumps(kin.Lock())
    code = f"import pickle\ntry: pickle.loads({text!r})\nexcept RuntimeError as e: print(e)"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True
    )
    assert "reaches the processes of its family only" in done.stdout


def test_many_threads_start_children():
    context = kin.get_context("spawn")
    queue = context.Queue()
    processes = [context.Process(target=queue.put, args=(i,)) for i in range(4)]
    threads = [threading.Thread(target=process.start) for process in processes]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(queue.get(timeout=60) for _ in processes) == [0, 1, 2, 3]
    for process in processes:
        process.join()


MODULE = """
import kin, sys
lock = kin.Lock()  # of its own in each process that imports this

def child(queue):
    with lock:
        queue.put(kin.get_start_method())

if __name__ == "__main__":
    for method in ("spawn", "forkserver"):
        context = kin.get_context(method)
        queue = context.Queue()
        process = context.Process(target=child, args=(queue,))
        process.start()
        print(queue.get())
        process.join()
"""


def test_a_module_that_makes_its_own(tmp_path):
    (tmp_path / "module.py").write_text(MODULE)
    done = subprocess.run(
        [sys.executable, "module.py"],
        cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False,
    )
    assert done.stdout.split() == ["spawn", "forkserver"], done.stderr


PRELOADED = """
import os
from multiprocessing import Process, Queue, get_context

imported_in = os.getpid()

def grandchild(queue):
    queue.put([type(queue).__module__, type(get_context()).__module__])

def child(queue):
    process = Process(target=grandchild, args=(queue,))
    process.start()
    process.join()
    print(type(process._popen).__module__, imported_in == os.getppid(), flush=True)
"""

PRELOADS = """
import kin
kin.install()
import multiprocessing

if __name__ == "__main__":
    multiprocessing.set_start_method("forkserver")
    multiprocessing.set_forkserver_preload(["__main__", "preloaded"])
    import preloaded
    queue = multiprocessing.Queue()
    process = multiprocessing.Process(target=preloaded.child, args=(queue,))
    process.start()
    process.join()
    print(queue.get())
"""


def test_what_the_server_preloads_has_kin(tmp_path):
    (tmp_path / "preloaded.py").write_text(PRELOADED)
    (tmp_path / "module.py").write_text(PRELOADS)
    path = os.pathsep.join([str(tmp_path), *filter(None, sys.path)])
    program = subprocess.Popen(
        [sys.executable, "module.py"], cwd=tmp_path, env={**os.environ, "PYTHONPATH": path},
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True,
    )
    try:
        printed = program.communicate(timeout=40)[0]
    except subprocess.TimeoutExpired:
        os.killpg(program.pid, signal.SIGKILL)  # its servers and their children, too
        printed = program.communicate()[0]
    assert sorted(printed.splitlines()) == ["['kin.queues', 'kin.context']", "kin.popen True"]


def tell_method(queue):
    """In a child."""
    queue.put(kin.get_start_method())


def test_a_child_has_the_start_method_it_was_started_with(ours):
    kin.set_start_method("spawn", force=True)
    try:
        queue = ours.Queue()
        run(ours, tell_method, queue)
        assert queue.get() == ours.get_start_method()
    finally:
        kin.set_start_method(None, force=True)


# --- the end of a child -----------------------------------------------------------------------


def meet(barrier, queue):
    """In a child, which keeps the barrier to its end."""
    sys.kept = barrier
    queue.put(barrier.wait(30))


def test_a_barrier_is_whole_when_its_parties_have_ended(both):
    barrier, queue = both.Barrier(2), both.Queue()
    parties = [both.Process(target=meet, args=(barrier, queue)) for _ in range(2)]
    for party in parties:
        party.start()
    assert sorted(queue.get(timeout=60) for _ in parties) == [0, 1]
    for party in parties:
        party.join(60)
    assert not barrier.broken and [party.exitcode for party in parties] == [0, 0]
