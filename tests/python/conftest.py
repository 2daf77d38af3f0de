"""Each test runs with the standard library and with kin: what they share is shown to be shared."""

import faulthandler
import multiprocessing
import os
import pathlib
import re
import signal
import subprocess
import sys

import pytest

import kin

LIMIT = 100  # seconds for one test
DUMP = signal.SIGRTMAX - 1  # for tracebacks
SANITIZED = "libasan" in os.environ.get("LD_PRELOAD", "")
# The address sanitizer of gcc 12 locks its memory while it forks in no thread but its own: a child
# that is forked beside a busy thread may find it locked for ever.
FORKS_BESIDE_THREADS = (
    "test_pools.py", "pool", "executor", "test_nothing_grows", "test_a_program_as_it_is",
    "test_children_that_start_anew", "test_many_threads_start_children", "test_examples.py",
    "test_managers.py", "test_fork_while_threads_are_busy", "test_daemons_end_with_a_parent",
    "test_an_exception_that_cannot_be_unpickled", "test_a_task_that_ends_its_worker",
)
watcher = None


def pytest_configure():
    """Here standard error is still that of the whole run."""
    global watcher
    dumps = os.memfd_create("tracebacks")
    faulthandler.register(DUMP, file=dumps)
    environment = {key: value for key, value in os.environ.items() if key != "LD_PRELOAD"}
    watcher = subprocess.Popen(
        [sys.executable, str(pathlib.Path(__file__).with_name("watcher.py")),
         str(LIMIT), str(int(DUMP)), str(dumps)],
        stdin=subprocess.PIPE, env=environment, pass_fds=[dumps],
    )


def pytest_unconfigure():
    """The watcher ends with the tests."""
    watcher.stdin.close()
    watcher.wait()


def pytest_collection_modifyitems(config, items):
    """Under the address sanitizer: what is kin's, but for what it does not survive.

    Not the standard library's: the threads of its queues end some time after their tests.
    """
    if not SANITIZED:
        return
    others = [item for item in items if re.search(r"[[-]multiprocessing[]-]", item.nodeid)]
    config.hook.pytest_deselected(items=others)
    items[:] = [item for item in items if item not in others]
    reason = "forks beside threads, which the address sanitizer does not survive"
    for item in items:
        if any(part in item.nodeid for part in FORKS_BESIDE_THREADS):
            item.add_marker(pytest.mark.skip(reason=reason))


@pytest.fixture(params=["multiprocessing", "kin"])
def mp(request):
    """One implementation after the other."""
    module = multiprocessing if request.param == "multiprocessing" else kin
    yield module.get_context("fork")
    for child in multiprocessing.active_children():
        child.kill()
        child.join()


@pytest.fixture
def only_kin():
    """For what the standard library does not do, or does not survive."""
    yield kin.get_context("fork")
    for child in multiprocessing.active_children():
        child.kill()
        child.join()


@pytest.fixture(autouse=True)
def no_hang(request):
    """A test that hangs ends the run and says where."""
    watcher.stdin.write(f"{request.node.nodeid}\n".encode())
    watcher.stdin.flush()
    yield
