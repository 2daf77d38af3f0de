"""An end that is closed while calls use it: in other threads, or further out in the same one."""

import os
import random
import signal
import sys
import threading
import time

import pytest


@pytest.fixture
def chance():
    """Random numbers, and threads that take turns often; only kin survives these tests."""
    seed = int(os.environ.get("KIN_SEED", random.randrange(2**32)))
    print("KIN_SEED =", seed)
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    yield random.Random(seed)
    sys.setswitchinterval(before)


USES = {
    "recv": lambda end: end.recv(),
    "recv_bytes": lambda end: end.recv_bytes(),
    "send": lambda end: end.send(b"x" * 100),
    "send_pickled": lambda end: end.send([1, "two", {3}]),
    "poll": lambda end: end.poll(None) and end.recv(),
    "look": lambda end: end.poll() and end.recv(),
    "fileno": lambda end: end.fileno(),
}


def use_until_it_is_closed(use, end, started, errors):
    started.wait()
    try:
        while True:
            use(end)
    except (OSError, EOFError) as error:
        errors.append(error)


@pytest.mark.parametrize("who", ["our end", "the other end", "both"])
@pytest.mark.parametrize("use", USES)
def test_in_another_thread(only_kin, chance, use, who):
    if use == "fileno" and who == "the other end":
        pytest.skip("our end has its descriptor all the same")
    for _ in range(100):
        ours, theirs = only_kin.Pipe()
        started, errors = threading.Barrier(3), []
        threads = [
            threading.Thread(
                target=use_until_it_is_closed, args=(USES[use], ours, started, errors), daemon=True
            )
            for _ in range(2)
        ]
        for thread in threads:
            thread.start()
        if chance.random() < 0.5:
            theirs.send(1)
        started.wait()
        if chance.random() < 0.7:
            time.sleep(chance.random() / 2000)
        if who != "the other end":
            ours.close()
        if who != "our end":
            theirs.close()
        for thread in threads:
            thread.join(20)
            assert not thread.is_alive()
        assert len(errors) == 2
        if who == "our end":
            assert {str(error) for error in errors} == {"handle is closed"}
            with pytest.raises(EOFError):
                while True:
                    theirs.recv()
        ours.close()
        assert ours.closed


def test_by_several(only_kin, chance):
    for _ in range(50):
        ours, theirs = only_kin.Pipe()
        started, errors = threading.Barrier(4), []

        def close():
            started.wait()
            ours.close()

        threads = [threading.Thread(target=close, daemon=True) for _ in range(2)]
        arguments = USES["recv"], ours, started, errors
        threads.append(
            threading.Thread(target=use_until_it_is_closed, args=arguments, daemon=True)
        )
        for thread in threads:
            thread.start()
        started.wait()
        for thread in threads:
            thread.join(20)
            assert not thread.is_alive()
        with pytest.raises(EOFError):
            theirs.recv()


@pytest.mark.parametrize("use", ["recv", "poll", "send"])
def test_by_a_signal_handler(only_kin, use):
    """It runs in the middle of the call whose end it closes."""
    ours, theirs = only_kin.Pipe()
    before = signal.signal(signal.SIGALRM, lambda *_: ours.close())
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.01)
        with pytest.raises(OSError, match="handle is closed"):
            while True:
                USES[use](ours)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    with pytest.raises(EOFError):
        while True:
            theirs.recv()


class ClosesIt:
    """While it is pickled."""

    def __init__(self, end):
        self._end = end

    def __reduce__(self):
        self._end.close()
        return int, ()


def test_by_what_is_sent(only_kin):
    ours, theirs = only_kin.Pipe()
    with pytest.raises(OSError, match="handle is closed"):
        ours.send(ClosesIt(ours))
    with pytest.raises(EOFError):
        theirs.recv()


def test_while_it_is_pickled(only_kin, chance):
    from kin import _kin

    for _ in range(100):
        ours, theirs = only_kin.Pipe()
        started, errors = threading.Barrier(2), []
        thread = threading.Thread(
            target=use_until_it_is_closed, args=(_kin.key, ours, started, errors), daemon=True
        )
        thread.start()
        started.wait()
        time.sleep(chance.random() / 2000)
        ours.close()
        thread.join(20)
        assert not thread.is_alive() and len(errors) == 1


def test_in_a_child_of_a_thread_that_uses_it(only_kin):
    """What threads of the parent do with it does not keep the child from closing its own."""
    ours, theirs = only_kin.Pipe()
    started, errors = threading.Barrier(2), []
    arguments = USES["recv"], ours, started, errors
    thread = threading.Thread(target=use_until_it_is_closed, args=arguments, daemon=True)
    thread.start()
    started.wait()
    time.sleep(0.05)
    is_closed, may_end = only_kin.Event(), only_kin.Event()

    def child():
        ours.close()
        is_closed.set()
        may_end.wait()

    process = only_kin.Process(target=child)
    process.start()
    assert is_closed.wait(20)
    ours.close()
    thread.join(20)
    assert not thread.is_alive()
    assert theirs.poll(20)
    with pytest.raises(EOFError):
        theirs.recv()
    may_end.set()
    process.join()
    assert process.exitcode == 0
