"""The package as a whole: what it exports, contexts, python -m kin."""

import multiprocessing
import os
import subprocess
import sys

import pytest

import kin


def test_nothing_is_missing():
    assert [name for name in multiprocessing.__all__ if not hasattr(kin, name)] == []
    assert set(multiprocessing.__all__) <= set(kin.__all__)
    assert kin.TimeoutError is multiprocessing.TimeoutError
    assert kin.current_process() is multiprocessing.current_process()


def test_other_start_methods_are_refused():
    for method in ("spawn", "forkserver"):
        with pytest.raises(NotImplementedError, match="fork"):
            kin.get_context(method)
        with pytest.raises(NotImplementedError, match="fork"):
            kin.set_start_method(method)
    with pytest.raises(ValueError):
        kin.get_context("nonsense")
    assert kin.get_start_method() == "fork"


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
from multiprocessing import Process, Queue, Pool
from concurrent.futures import ProcessPoolExecutor
import multiprocessing as mp

def child(queue):
    queue.put([type(queue).__module__, type(mp.Lock()).__module__])

def double(x):
    return 2 * x

if __name__ == "__main__":
    queue = Queue()
    process = Process(target=child, args=(queue,))
    process.start()
    print(queue.get(), sys.argv[1:])
    process.join()
    with Pool(2) as pool:
        print(pool.map(double, [1, 2]))
    with ProcessPoolExecutor(2) as executor:
        print(list(executor.map(double, [3, 4])))
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
        "['kin.queues', 'kin.synchronize'] ['one', 'two']", "[2, 4]", "[6, 8]",
    ], done.stderr
