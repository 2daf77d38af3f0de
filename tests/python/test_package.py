"""The package as a whole: what it exports, contexts, python -m kin."""

import importlib
import multiprocessing
import os
import subprocess
import sys
import zipfile

import pytest

import kin


def test_nothing_is_missing():
    assert [name for name in multiprocessing.__all__ if not hasattr(kin, name)] == []
    assert set(multiprocessing.__all__) <= set(kin.__all__)
    assert kin.TimeoutError is multiprocessing.TimeoutError
    assert kin.current_process() is multiprocessing.current_process()


@pytest.mark.parametrize("module, names", [
    ("sharedctypes", "Array RawArray RawValue Synchronized SynchronizedArray SynchronizedBase "
     "SynchronizedString Value copy synchronized"),
    ("connection", "Client Connection Listener Pipe SocketListener XmlClient XmlListener "
     "answer_challenge deliver_challenge wait"),
    ("pool", "ApplyResult AsyncResult IMapIterator IMapUnorderedIterator MapResult "
     "MaybeEncodingError Pool ThreadPool"),
])
def test_nothing_is_missing_in_a_module(module, names):
    ours = importlib.import_module(f"kin.{module}")
    standard = importlib.import_module(f"multiprocessing.{module}")
    assert [name for name in names.split() if not hasattr(standard, name)] == []
    assert [name for name in names.split() if not hasattr(ours, name)] == []


def test_start_methods():
    assert kin.get_all_start_methods() == ["fork", "spawn", "forkserver"]
    for method in kin.get_all_start_methods():
        context = kin.get_context(method)
        assert context.get_start_method() == method and context.get_context() is context
        assert isinstance(context, type(multiprocessing.get_context(method)))
        with pytest.raises(ValueError):
            context.set_start_method(method)
    with pytest.raises(ValueError):
        kin.get_context("nonsense")
    assert kin.get_start_method() == "fork"
    with pytest.raises(RuntimeError):
        kin.set_start_method("spawn")
    kin.set_start_method(None, force=True)
    assert kin.get_start_method(allow_none=True) is None
    kin.set_start_method("spawn")
    assert kin.get_context().get_start_method() == kin.get_start_method() == "spawn"
    kin.set_start_method("fork", force=True)


def square(x):
    """For the pool."""
    return x * x


def test_what_stays_the_standard_library(mp):
    with mp.Pool(2) as pool:
        assert pool.map(square, range(5)) == [0, 1, 4, 9, 16]
    value = mp.Value("i", 0)

    def add():
        for _ in range(100):
            with value.get_lock():
                value.value += 1

    children = [mp.Process(target=add) for _ in range(2)]
    for child in children:
        child.start()
    for child in children:
        child.join()
    assert value.value == 200


PROGRAM = """
import sys
from multiprocessing import Process, Queue, Pool, Lock
from concurrent.futures import ProcessPoolExecutor
import multiprocessing as mp

def child(queue):
    queue.put([type(queue).__module__, type(mp.Lock()).__module__, type(Lock()).__module__])

def double(x):
    return 2 * x

if __name__ == "__main__":
    if len(sys.argv) > 3:
        mp.set_start_method(sys.argv[3])
    queue = Queue()
    process = Process(target=child, args=(queue,))
    process.start()
    print(queue.get(), sys.argv[1:])
    process.join()
    with Pool(2) as pool:
        print(pool.map(double, [1, 2]))
    with ProcessPoolExecutor(2) as executor:
        print(list(executor.map(double, [3, 4])), type(executor._call_queue).__module__)
"""


@pytest.mark.parametrize("how", ["file", "-m", "-c"])
def test_a_program_as_it_is(tmp_path, how):
    (tmp_path / "program.py").write_text(PROGRAM)
    start = {"file": ["program.py"], "-m": ["-m", "program"], "-c": ["-c", PROGRAM]}[how]
    done = subprocess.run(
        [sys.executable, "-m", "kin", *start, "one", "two"],
        cwd=tmp_path, env=os.environ, capture_output=True, text=True, timeout=60,
    )
    assert done.stdout.splitlines() == [
        "['kin.queues', 'kin.synchronize', 'kin.synchronize'] ['one', 'two']", "[2, 4]", "[6, 8] kin.executor",
    ], done.stderr


@pytest.mark.parametrize("method", ["spawn", "forkserver"])
@pytest.mark.parametrize("how", ["file", "-m"])
def test_children_that_start_anew(tmp_path, how, method):
    (tmp_path / "program.py").write_text(PROGRAM)
    start = {"file": ["program.py"], "-m": ["-m", "program"]}[how]
    done = subprocess.run(
        [sys.executable, "-m", "kin", *start, "one", "two", method],
        cwd=tmp_path, env=os.environ, capture_output=True, text=True, timeout=60,
    )
    assert done.stdout.splitlines() == [
        f"['kin.queues', 'kin.synchronize', 'kin.synchronize'] ['one', 'two', '{method}']", "[2, 4]", "[6, 8] kin.executor",
    ], done.stderr


LATE = """
import pickle, sys, threading
from concurrent.futures import ProcessPoolExecutor
import multiprocessing

def double(x):
    return 2 * x

def after_the_end():
    threading.main_thread().join()
    print(pickle.loads(pickle.dumps(double)) is double, __name__ == sys.modules["__main__"].__name__)

if __name__ == "__main__":
    executor = ProcessPoolExecutor(1, mp_context=multiprocessing.get_context(sys.argv[1]))
    for number in range(200):
        future = executor.submit(double, number)
    future.add_done_callback(lambda done: print(done.exception() or done.result()))
    threading.Thread(target=after_the_end).start()
"""


@pytest.mark.parametrize("method", ["fork", "spawn"])
@pytest.mark.parametrize("how", ["file", "-m"])
def test_what_goes_on_after_the_last_line(tmp_path, how, method):
    """Its functions can be pickled still."""
    (tmp_path / "program.py").write_text(LATE)
    start = {"file": ["program.py"], "-m": ["-m", "program"]}[how]
    done = subprocess.run(
        [sys.executable, "-m", "kin", *start, method],
        cwd=tmp_path, env=os.environ, capture_output=True, text=True, timeout=60,
    )
    assert sorted(done.stdout.splitlines()) == ["398", "True True"], done.stderr


SHOWS = """
import os, sys
print(__name__, __file__, type(__loader__).__name__, __package__, __builtins__)
print(os.path.samefile(sys.path[0], os.path.dirname(os.path.realpath(__file__))), sys.path[0], sys.argv)
"""


@pytest.mark.parametrize("start", [
    ["program.py", "-x"], ["./program.py"], ["link"], ["folder", "x"], ["archive.zip"], ["empty"],
    ["missing.py"], ["-m", "program", "-c"], ["-m", "missing"], ["-m", "empty"], ["-", "x"],
    ["-c", "import sys; print(sys.path[0], sys.argv, __builtins__)", "x"], ["-c", "raise SystemExit('no')"],
])
def test_a_program_sees_what_it_sees_without_kin(tmp_path, start):
    (tmp_path / "program.py").write_text(SHOWS)
    for folder in ("folder", "empty", "elsewhere"):
        (tmp_path / folder).mkdir()
    (tmp_path / "folder" / "__main__.py").write_text(SHOWS)
    (tmp_path / "elsewhere" / "other.py").write_text(SHOWS)
    (tmp_path / "link").symlink_to("elsewhere/other.py")
    with zipfile.ZipFile(tmp_path / "archive.zip", "w") as archive:
        archive.writestr("__main__.py", SHOWS.replace("os.path.samefile", "print"))

    def run(*arguments):
        done = subprocess.run(
            [sys.executable, *arguments], cwd=tmp_path, input="import sys; print(sys.argv)",
            env=os.environ, capture_output=True, text=True, timeout=60,
        )
        return done.returncode, done.stdout, done.stderr

    assert run("-m", "kin", *start) == run(*start)


AFTERWARDS = """
import atexit, sys, threading, time
import multiprocessing as mp
from concurrent.futures import ProcessPoolExecutor

class Item:
    pass

def make(_):
    return Item()

def at_exit():
    with mp.Pool(1) as pool:
        print("exit", type(pool.map(make, [1])[0]) is Item)

def in_thread(main):
    main.join()
    with mp.Pool(1) as pool:
        print("thread", type(pool.map(make, [1])[0]) is Item)

if __name__ == "__main__":
    mp.set_start_method(sys.argv[1])
    at_exit()
    if sys.argv[1] != "fork":
        sys.exit()
    atexit.register(at_exit)
    threading.Thread(target=in_thread, args=(threading.main_thread(),)).start()
    print(__file__, __spec__, sys.path[0])
"""


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_a_program_goes_on_after_its_last_line(tmp_path, method):
    """Threads and exit handlers pickle what is in __main__; children send its objects back."""
    (tmp_path / "program.py").write_text(AFTERWARDS)
    done = [
        subprocess.run(
            [sys.executable, *kin, "program.py", method],
            cwd=tmp_path, env=os.environ, capture_output=True, text=True, timeout=60,
        )
        for kin in ([], ["-m", "kin"])
    ]
    assert done[1].stdout == done[0].stdout, done[1].stderr
    assert done[1].stdout.count("True") == (3 if method == "fork" else 1)


def test_what_is_run_is_found_as_by_the_interpreter(tmp_path):
    (tmp_path / "folder").mkdir()
    show = "import sys; print(__file__, sys.argv, sys.path[0], __package__, type(__loader__))"
    (tmp_path / "folder/__main__.py").write_text(show)
    (tmp_path / "link.py").symlink_to("folder/__main__.py")
    for arguments in (["folder"], ["link.py"], ["-m", "folder"], ["no.py"], ["-m", "no"], ["-"]):
        done = [
            subprocess.run(
                [sys.executable, *kin, *arguments, "one"], input="print(__name__)",
                cwd=tmp_path, env=os.environ, capture_output=True, text=True, timeout=60,
            )
            for kin in ([], ["-m", "kin"])
        ]
        assert done[1].stdout == done[0].stdout, done[1].stderr
        assert (done[1].returncode, done[1].stderr) == (done[0].returncode, done[0].stderr)


def test_contexts_that_a_library_has_added(monkeypatch):
    from multiprocessing import context

    class Added(context.BaseContext):
        _name = "added"

    monkeypatch.setitem(context._concrete_contexts, "added", Added())
    assert kin.get_context("added") is context._concrete_contexts["added"]
    assert kin.get_context("spawn").get_context("added") is kin.get_context("added")


@pytest.mark.parametrize("name", ["managers", "util", "reduction", "dummy", "process", "resource_tracker"])
def test_modules_of_the_standard_library(name):
    ours = importlib.import_module(f"kin.{name}")
    assert ours is importlib.import_module(f"multiprocessing.{name}")
