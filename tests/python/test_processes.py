"""Processes: how they end, who is told, and what is left when a parent is killed."""

import atexit
import os
import select
import signal
import subprocess
import sys
import threading
import time
from multiprocessing import util

import pytest

import kin

METHODS = ["fork", "spawn", "forkserver"]


@pytest.fixture(params=METHODS)
def context(request):
    """Kin's context of each start method."""
    return kin.get_context(request.param)


def end_with(code):
    """A child's work."""
    sys.exit(code)


def kill_self():
    """So that no handler can run."""
    os.kill(os.getpid(), signal.SIGKILL)


@pytest.mark.parametrize("name", ["", "a" * 31, "a" * 32, "a" + "é" * 20, "語" * 11, "😀" * 9])
def test_names(mp, name):
    process = mp.Process(target=int, name=name or None)
    assert not name or process.name == name
    process.start()
    process.join(30)
    assert process.exitcode == 0


@pytest.mark.parametrize("code, exitcode", [(0, 0), (7, 7), ("text", 1), (None, 0), (-1, 255)])
def test_exit_codes(mp, code, exitcode):
    process = mp.Process(target=end_with, args=(code,))
    process.start()
    process.join()
    assert process.exitcode == exitcode


def say_late(write):
    """In a child of a child, which does not wait for it."""
    time.sleep(0.05)
    os.write(write, b"a grandchild, ")


def say_at_the_end(mp, write):
    """In a child."""
    util.Finalize(None, os.write, args=(write, b"a finalizer"), exitpriority=-1)
    if sys.version_info >= (3, 13):
        atexit.register(os.write, write, b"atexit, ")
    mp.Process(target=say_late, args=(write,)).start()


def test_the_end_of_a_child(mp):
    """What was to be done then is done, and its children are waited for."""
    read, write = os.pipe()
    process = mp.Process(target=say_at_the_end, args=(mp, write))
    process.start()
    process.join()
    expected = [b"atexit"] * (sys.version_info >= (3, 13)) + [b"a grandchild", b"a finalizer"]
    assert process.exitcode == 0 and os.read(read, 100).split(b", ") == expected
    os.close(read)
    os.close(write)


def test_an_exception(mp, capfd):
    def fail():
        raise RuntimeError("as planned")

    process = mp.Process(target=fail)
    process.start()
    process.join()
    assert process.exitcode == 1
    assert "as planned" in capfd.readouterr().err


def test_a_signal_is_reported(context):
    process = context.Process(target=kill_self)
    process.start()
    process.join()
    assert process.exitcode == -signal.SIGKILL


def test_wait_and_signals(mp):
    process = mp.Process(target=time.sleep, args=(600,))
    process.start()
    assert process.is_alive() and process.exitcode is None
    process.join(0.01)
    assert process.is_alive()
    with pytest.raises(ValueError):
        process.close()
    process.terminate()
    process.join()
    assert not process.is_alive() and process.exitcode == -signal.SIGTERM
    process.kill()  # nobody is hit
    process.close()
    with pytest.raises(ValueError):
        process.is_alive()


def test_the_sentinel_is_a_descriptor_of_the_process(only_kin):
    process = only_kin.Process(target=time.sleep, args=(600,))
    process.start()
    assert "pidfd" in os.readlink(f"/proc/self/fd/{process.sentinel}")
    signal.pidfd_send_signal(process.sentinel, signal.SIGKILL)
    assert select.select([process.sentinel], [], [], 30)[0] == [process.sentinel]
    process.join()
    assert process.exitcode == -signal.SIGKILL


def test_many_threads_join(only_kin):
    """Each learns how it ended."""
    process, codes = only_kin.Process(target=end_with, args=(3,)), []

    def join():
        process.join()
        codes.append(process.exitcode)

    threads = [threading.Thread(target=join) for _ in range(8)]
    process.start()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert codes == [3] * 8


def test_somebody_else_collects_it(only_kin):
    process = only_kin.Process(target=end_with, args=(3,))
    process.start()
    os.waitpid(process.pid, 0)
    process.join()
    assert not process.is_alive() and process.exitcode == 255


def test_no_zombies_and_no_descriptors(only_kin):
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(20):
        process = only_kin.Process(target=end_with, args=(0,))
        process.start()
        process.join()
        process.close()
    assert kin.active_children() == []
    assert len(os.listdir("/proc/self/fd")) <= before + 1  # the arena's, if it was not there yet
    try:
        assert os.waitpid(-1, os.WNOHANG) == (0, 0)  # the servers of other tests
    except ChildProcessError:
        pass


def wait_for_parent(ready):
    """Outlives its parent, which is not a daemon's parent."""
    ready.put(os.getpid())
    kin.parent_process().join()
    ready.put("the parent is gone")


ORPHANS = """
import concurrent.futures, os, signal, sys
import kin

def wait(queue, ready):
    ready.put(os.getpid())
    queue.get()

if __name__ == "__main__":
    context = kin.get_context(sys.argv[1])
    queue, ready = context.Queue(), context.Queue()
    children = [context.Process(target=wait, args=(queue, ready), daemon=True) for _ in range(3)]
    for child in children:
        child.start()
    pool = context.Pool(2)
    assert pool.map(abs, [-1, 2]) == [1, 2]
    executor = concurrent.futures.ProcessPoolExecutor(2, mp_context=context)
    workers = {executor.submit(os.getpid).result() for _ in range(5)} | set(executor._processes)
    manager = context.Manager()
    workers.update(worker.pid for worker in pool._pool)
    print(*[ready.get() for _ in children], *workers, manager._process.pid, flush=True)
    os.kill(os.getpid(), signal.SIGKILL)
"""


def is_there(pid):
    """Whether it runs; a zombie that nobody collects does not."""
    try:
        with open(f"/proc/{pid}/stat", encoding="ascii") as file:
            return file.read().rpartition(")")[2].split()[0] not in "ZX"
    except FileNotFoundError:
        return False


@pytest.mark.parametrize("method", METHODS)
def test_daemons_end_with_a_parent_that_is_killed(method, tmp_path):
    program = tmp_path / "orphans.py"
    program.write_text(ORPHANS)
    done = subprocess.run(
        [sys.executable, program, method], env=os.environ, capture_output=True, text=True, timeout=60
    )
    pids = done.stdout.split()
    assert len(pids) in (7, 8), done.stderr  # an executor may have started one worker only
    while any(map(is_there, pids)):  # a hang is a failure
        time.sleep(0.01)


PARENT = """
import os, signal, sys
import kin
sys.path.insert(0, {here!r})
from test_processes import wait_for_parent

if __name__ == "__main__":
    ready = kin.Queue()
    kin.Process(target=wait_for_parent, args=(ready,)).start()
    print(ready.get(), flush=True)
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_others_live_on_and_can_see_that_the_parent_is_gone():
    code = PARENT.format(here=os.path.dirname(__file__))
    done = subprocess.run(
        [sys.executable, "-c", code], env=os.environ, capture_output=True, text=True, timeout=60
    )
    pid = done.stdout.strip()
    assert pid, done.stderr
    while is_there(pid):
        time.sleep(0.01)


def test_what_a_brother_may_do(mp):
    """A child that is forked has the Process objects of those before it."""
    first = mp.Process(target=time.sleep, args=(1000,))
    first.start()

    def second():
        assert first.exitcode is None and first.pid != os.getpid()
        for of_parents in (first.join, first.is_alive):
            with pytest.raises(AssertionError):
                of_parents()
        with pytest.raises(ValueError):
            first.close()
        first.terminate()

    brother = mp.Process(target=second)
    brother.start()
    brother.join()
    assert brother.exitcode == 0
    first.join()
    assert first.exitcode == -signal.SIGTERM
