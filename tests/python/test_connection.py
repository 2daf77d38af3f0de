"""Pipes: the behaviour that is shared."""


import pytest


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
    a.send_bytes(b"12345")
    with pytest.raises(OSError):
        b.recv_bytes(4)


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
