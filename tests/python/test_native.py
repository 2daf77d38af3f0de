"""What only the extension can do wrong: wild arguments, cycles, names, sentences."""

import gc
import os
import subprocess
import sys
import weakref

import pytest

import kin
from kin import _kin


def test_wild_arguments_of_private_functions():
    ready = _kin.Ready(kin.Lock(), 1)
    for wild in (ready, _kin.Child, object(), kin.Event):
        with pytest.raises(TypeError, match="no object of kin"):
            _kin.key(wild)
    with pytest.raises(TypeError, match="no object of kin"):
        _kin.Ready(ready, 1)
    queue = kin.Queue()
    for packed in ((), (1,), (1, 2), (b"", [b"not a view"]), (b"", ()), (b"", [], [])):
        with pytest.raises(TypeError):
            queue._put_many([packed], False, None)
    assert queue.empty()


def test_signals_that_there_are_not(only_kin):
    child = only_kin.Process(target=os.read, args=(os.pipe()[0], 1))
    child.start()
    for number in (2**32 + 9, 2**64 + 9, -(2**32) + 9, -1, 2**31):
        with pytest.raises((ValueError, OSError)):
            child._popen._child.send_signal(number)
    with pytest.raises(TypeError):
        child._popen._child.send_signal("9")
    assert child.is_alive()
    child.kill()
    child.join()


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
@pytest.mark.parametrize("name", ["\udc80", "a\0b", "é" * 100, "a" + "é" * 100, ""])
def test_names_of_processes(method, name):
    child = kin.get_context(method).Process(target=int, name=name)
    child.start()
    child.join()
    assert child.exitcode == 0


def test_sentences_that_are_cut_within_a_letter(tmp_path):
    for n in range(1, 4):
        path = str(tmp_path / "none" / ("a" * n + "é" * 120))
        with pytest.raises(FileNotFoundError, match="é"):
            kin.open(path=path, create=False)


class Number:
    def __float__(self):
        return 1.0


def _condition_and_lock():
    lock = kin.RLock()
    lock.condition = kin.Condition(lock)
    return lock.condition


def _barrier_and_timeout():
    timeout = Number()
    timeout.barrier = kin.Barrier(2, timeout=timeout)
    return timeout.barrier


def _lock_and_memory():
    value = kin.Value("i")
    lock = value.get_lock()
    value.get_obj()._wrapper.lock = lock
    return lock


def _queue_and_exception():
    queue = kin.Queue()
    queue._close(ValueError(queue))
    return queue


@pytest.mark.parametrize(
    "make", [_condition_and_lock, _barrier_and_timeout, _lock_and_memory, _queue_and_exception]
)
def test_cycles_are_freed(make):
    alive = weakref.ref(make())
    gc.collect()
    assert alive() is None
