"""Interpreters beside the main one: each that imports kin has an arena of its own."""

import os
import sys

import pytest

from kin import _kin

try:
    import _interpreters as interpreters
except ImportError:
    interpreters = pytest.importorskip("_xxsubinterpreters")

USE = """
from kin import _kin
queue, lock, event = _kin.Queue(), _kin.Lock(), _kin.Event()
queue.put([1, "two", {3}])
with lock:
    event.set()
assert queue.get() == [1, "two", {3}] and event.wait(1) and not lock.locked()
assert _kin.arena_id() != OF_THE_MAIN_ONE
"""


def run(kind, code):
    """In a new interpreter; raises what the code raises, as far as this version can."""
    if sys.version_info >= (3, 13):
        made = interpreters.create(kind)
    else:
        made = interpreters.create(isolated=kind == "isolated")
    try:
        error = interpreters.run_string(made, code)
        assert error is None, error
    finally:
        interpreters.destroy(made)


@pytest.mark.parametrize("kind", ["isolated", "legacy"])
def test_objects_in_another_interpreter(kind):
    code = USE.replace("OF_THE_MAIN_ONE", str(_kin.arena_id()))
    run(kind, code)
    descriptors, queue = len(os.listdir("/proc/self/fd")), _kin.Queue()
    for _ in range(10):
        run(kind, code)
    assert len(os.listdir("/proc/self/fd")) <= descriptors  # their arenas went with them
    queue.put(1)
    assert queue.get() == 1


@pytest.mark.skipif(sys.version_info < (3, 13), reason="ctypes is for the main interpreter only")
def test_the_package_in_another_interpreter():
    run("isolated", "import kin; v = kin.Value('i', 1); v += 1; assert v.value == 2")
