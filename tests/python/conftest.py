"""Each test runs with the standard library and with kin: what they share is shown to be shared."""

import faulthandler
import multiprocessing

import pytest

import kin


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
    faulthandler.dump_traceback_later(60, exit=True)
    yield
    faulthandler.cancel_dump_traceback_later()
