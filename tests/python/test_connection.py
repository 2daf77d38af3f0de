"""Pipes: the behaviour that is shared."""

import copy
import multiprocessing
import multiprocessing.connection
import os
import signal
import socket
from multiprocessing import reduction

import pytest

import kin

METHODS = ["fork", "spawn", "forkserver"]


def test_duplex(mp):
    ours, theirs = mp.Pipe()

    def child():
        ours.close()
        while True:
            try:
                theirs.send(theirs.recv())
            except EOFError:
                return

    process = mp.Process(target=child)
    process.start()
    theirs.close()
    for item in (1, None, [1, "x"], b"y" * 3_000_000):
        ours.send(item)
        assert ours.recv() == item
    ours.close()
    process.join()
    assert process.exitcode == 0 and ours.closed


def test_one_way(mp):
    reader, writer = mp.Pipe(False)
    assert (reader.readable, reader.writable) == (True, False)
    assert (writer.readable, writer.writable) == (False, True)
    with pytest.raises(OSError):
        reader.send(1)
    with pytest.raises(OSError):
        writer.recv()
    with pytest.raises(OSError):
        writer.poll()


def test_bytes(mp):
    a, b = mp.Pipe()
    a.send_bytes(b"hello", 1, 3)
    assert b.recv_bytes() == b"ell"
    for arguments in ((b"abc", -1), (b"abc", 4), (b"abc", 1, 3), (b"abc", 0, -1)):
        with pytest.raises(ValueError):
            a.send_bytes(*arguments)
    buffer = bytearray(b"......")
    a.send_bytes(b"xyz")
    assert b.recv_bytes_into(buffer, 2) == 3 and buffer == b"..xyz."
    a.send_bytes(b"longer than that")
    with pytest.raises(mp.BufferTooShort) as caught:
        b.recv_bytes_into(buffer)
    assert caught.value.args == (b"longer than that",)


def test_a_message_that_is_too_long(mp):
    """Nothing more is received; what is sent goes on."""
    a, b = mp.Pipe()
    a.send_bytes(b"12345")
    with pytest.raises(OSError, match="bad message length"):
        b.recv_bytes(4)
    assert (b.closed, b.readable, b.writable) == (False, False, True)
    for receive in (b.recv, b.recv_bytes, b.poll, lambda: b.recv_bytes_into(bytearray(9))):
        with pytest.raises(OSError, match="write-only"):
            receive()
    b.send("still there")
    assert a.recv() == "still there"
    reader, writer = mp.Pipe(False)
    writer.send_bytes(b"12345")
    with pytest.raises(OSError, match="bad message length"):
        reader.recv_bytes(4)
    assert reader.closed


def test_copies(mp):
    a, b = mp.Pipe()
    other = copy.copy(a)
    other.send("from the copy")
    assert b.recv() == "from the copy" and type(other) is type(a)
    if mp.Lock.__func__.__module__.startswith("kin"):
        a.close()  # the copy keeps the end
        copy.deepcopy(other).send(1)
        other.close()
        assert b.recv() == 1
        with pytest.raises(EOFError):
            b.recv()
    else:
        other._handle = None  # it is the same descriptor there


def test_ends_come_from_pipe():
    """What is called with a descriptor was an end that is closed."""
    with pytest.raises(TypeError, match="multiprocessing.connection.Connection"):
        kin.connection.Connection(1)


def test_waits_that_are_not_numbers(mp):
    a, _ = mp.Pipe()
    for wrong, error in ((float("nan"), ValueError), ("soon", TypeError)):
        with pytest.raises(error):
            multiprocessing.connection.wait([a], wrong)


def test_poll_and_end_of_file(mp):
    a, b = mp.Pipe()
    assert b.poll() is False and b.poll(0.01) is False
    a.send("last")
    a.close()
    assert b.poll(None) is True
    assert b.recv() == "last"
    assert b.poll() is True
    with pytest.raises(EOFError):
        b.recv()
    with pytest.raises(OSError):
        b.send(1)
    with pytest.raises(OSError, match="closed"):
        a.send(1)


def test_context_manager(mp):
    a, b = mp.Pipe()
    with a, b:
        a.send(1)
        assert b.recv() == 1
    assert a.closed and b.closed
    with pytest.raises(OSError, match="closed"):
        b.fileno()


def test_wait(mp):
    from kin.connection import wait

    ends = [mp.Pipe(False) for _ in range(3)]
    readers = [reader for reader, _ in ends]
    assert wait(readers, 0) == []
    assert wait(readers, 0.01) == []
    ends[1][1].send(5)
    assert wait(readers, 5) == [readers[1]]
    assert readers[1].recv() == 5
    assert wait(readers, 0) == []
    process = mp.Process(target=lambda: ends[2][1].send(6))
    process.start()
    assert wait(readers, 30) == [readers[2]]
    process.join()
    assert wait([process.sentinel, readers[0]], 5) == [process.sentinel]


# --- ends and descriptors on their way ---------------------------------------------------------


def answer_through(end):
    """In a child: an end comes through an end."""
    inner = end.recv()
    inner.send("all is well")
    inner.close()


@pytest.mark.parametrize("method", METHODS)
def test_an_end_is_kept_on_its_way(request, mp, method):
    context = mp.get_context(method) if request.node.callspec.params["mp"] == "kin" else (
        multiprocessing.get_context(method)
    )
    here, there = context.Pipe()
    child = context.Process(target=answer_through, args=(there,))
    child.start()
    there.close()
    reader, writer = context.Pipe(duplex=False)
    here.send(writer)
    writer.close()  # at once: nobody has it any more but the message
    assert reader.recv() == "all is well"
    with pytest.raises(EOFError):  # and nobody keeps it longer
        reader.recv()
    child.join()
    assert child.exitcode == 0


def test_an_end_through_a_queue(only_kin):
    queue, (reader, writer) = only_kin.Queue(), only_kin.Pipe(duplex=False)
    queue.put(("reply to", writer))
    writer.close()
    _, again = queue.get()
    again.send(1)
    assert reader.recv() == 1
    again.close()
    with pytest.raises(EOFError):
        reader.recv()


def test_the_sender_of_an_end_was_killed(only_kin):
    """What it kept on its way is gone with it: that is said, and nobody hangs."""
    queue, (reader, writer) = only_kin.Queue(), only_kin.Pipe(duplex=False)

    def send_and_die():
        reader.close()
        queue.put(writer)
        os.kill(os.getpid(), signal.SIGKILL)

    child = only_kin.Process(target=send_and_die)
    child.start()
    writer.close()
    child.join()
    with pytest.raises(EOFError):
        reader.recv()
    with pytest.raises((RuntimeError, OSError)):
        queue.get(timeout=50)


def write_to(end, data):
    """In a child: write to a descriptor that comes through an end."""
    fd = reduction.recv_handle(end)
    os.write(fd, data)
    os.close(fd)


@pytest.mark.parametrize("method", METHODS)
def test_descriptors(request, mp, method, tmp_path):
    context = mp.get_context(method) if request.node.callspec.params["mp"] == "kin" else (
        multiprocessing.get_context(method)
    )
    here, there = context.Pipe()
    child = context.Process(target=write_to, args=(there, b"hello"))
    child.start()
    with open(tmp_path / "file", "wb") as file:
        reduction.send_handle(here, file.fileno(), child.pid)
    child.join()
    assert child.exitcode == 0 and (tmp_path / "file").read_bytes() == b"hello"


def test_no_descriptor_came(only_kin):
    here, there = only_kin.Pipe()
    here.send("text")
    with pytest.raises(RuntimeError):
        reduction.recv_handle(there)


def test_sockets(mp):
    """A socket that is sent is another descriptor of the same one."""
    here, there = mp.Pipe()
    ours, theirs = socket.socketpair()
    with ours, theirs:
        here.send(theirs)
        with there.recv() as received:
            received.send(b"through")
            assert ours.recv(10) == b"through"
