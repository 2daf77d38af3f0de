"""Each test runs with the standard library and with kin: what they share is shown to be shared."""

import faulthandler
import multiprocessing
import os

import pytest

import kin


# The address sanitizer of gcc 12 locks its memory while it forks in no thread but its own: a child
# that is forked beside a busy thread may find it locked for ever.
FORKS_BESIDE_THREADS = (
    "test_pools.py", "pool", "executor", "test_nothing_grows", "test_a_program_as_it_is",
    "test_children_that_start_anew", "test_many_threads_start_children", "test_examples.py",
    "test_managers.py", "test_fork_while_threads_are_busy", "test_daemons_end_with_a_parent",
    "test_an_exception_that_cannot_be_unpickled", "test_a_task_that_ends_its_worker",
)


SANITIZED = "libasan" in os.environ.get("LD_PRELOAD", "")


def pytest_collection_modifyitems(items):
    """Under the address sanitizer: all but what it does not survive."""
    if not SANITIZED:
        return
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
def no_hang():
    """A test that hangs ends the run and says where."""
    if not SANITIZED:  # that is a thread, too
        faulthandler.dump_traceback_later(60, exit=True)
    yield
    faulthandler.cancel_dump_traceback_later()
