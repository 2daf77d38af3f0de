"""Pipe, Connection and wait; Listener and Client are the standard library's.

Descriptors of kin become readable now and then without a cause. So multiprocessing.connection.wait
becomes ours as soon as this is imported: executors of the standard library wait with it. So do
send_handle and recv_handle of multiprocessing.reduction: ends of kin have no socket of their own.
"""

import functools
import multiprocessing.connection
import time
from multiprocessing import reduction
from multiprocessing.connection import (
    Client,
    Listener,
    SocketListener,
    XmlClient,
    XmlListener,
    answer_challenge,
    deliver_challenge,
)
from multiprocessing.connection import wait as _standard_wait
from multiprocessing.context import BufferTooShort, get_spawning_popen

from . import _kin
from .handover import handle_of, kept

__all__ = ["Client", "Listener", "Pipe", "wait"]


@_kin.own
class Connection(_kin.Pipe):
    """One end of a pipe: closed when every process that has it closed it or died."""

    writable = True

    def __init__(self, *args, **kwargs):
        raise TypeError(
            "an end of a pipe comes from Pipe(); for a descriptor there is"
            " multiprocessing.connection.Connection"
        )

    @property
    def readable(self):
        """Whether it receives."""
        return not self._is_deaf

    def __copy__(self):
        """The same end, for this process: closed when both are."""
        make, arguments, _ = handle_of(self)
        return make(*arguments)

    def __deepcopy__(self, memo):
        return self.__copy__()

    def __reduce__(self):
        """Between processes: this one keeps the end open until it is received."""
        reduced = handle_of(self)
        if get_spawning_popen() is not None:
            return reduced
        return kept(reduced, self.__copy__().close)

    def _is_ready(self):
        """Whether there is something to receive, without waiting."""
        return self.poll()

    def recv_bytes(self, maxlength=None):
        """Receive a message of bytes; OSError if it is longer than maxlength, and none from then on."""
        if maxlength is not None and maxlength < 0:
            raise ValueError("negative maxlength")
        message = self._recv_bytes()
        if maxlength is not None and len(message) > maxlength:
            if self.writable:
                self._is_deaf = True
            else:
                self.close()
            raise OSError("bad message length")
        return message

    def recv_bytes_into(self, buf, offset=0):
        """Receive a message of bytes into a writable buffer; its length."""
        with memoryview(buf) as view:
            room = view.nbytes
            if offset < 0:
                raise ValueError("negative offset")
            if offset > room:
                raise ValueError("offset too large")
            message = self._recv_bytes()
            if len(message) > room - offset:
                raise BufferTooShort(message)
            view.cast("B")[offset : offset + len(message)] = message
        return len(message)

    def __enter__(self):
        return self

    def __exit__(self, exc_type, exc_value, exc_tb):
        self.close()


@_kin.own
class _Receiver(Connection):
    writable = False


@_kin.own
class _Sender(Connection):
    readable = False


def Pipe(duplex=True):
    """A pair of connected ends; one-way, the first receives and the second sends."""
    first, second = _kin.pipe(Connection, duplex)
    if not duplex:
        first.__class__, second.__class__ = _Receiver, _Sender
    return first, second


def wait(object_list, timeout=None):
    """Those of the objects that are ready: ends of pipes, sockets, sentinels of processes."""
    objects = list(object_list)
    if timeout is not None and timeout != timeout:
        raise ValueError("the timeout is not a number (NaN)")
    if not any(hasattr(thing, "_is_ready") for thing in objects):
        return _standard_wait(objects, timeout)
    end = None if timeout is None else time.monotonic() + timeout
    while True:
        left = None if end is None else max(0, end - time.monotonic())
        found = _standard_wait(objects, left)
        ready = [o for o in found if not hasattr(o, "_is_ready") or o._is_ready()]
        if ready or (left is not None and left <= 0):
            return ready


def _handles_over(ours, standard):
    """Our function for ends of kin, the standard library's for all others."""

    def choose(conn, *args):
        return (ours if isinstance(conn, _kin.Pipe) else standard)(conn, *args)

    return functools.update_wrapper(choose, standard)


def _send_handle(conn, handle, destination_pid=None):
    conn.send(reduction.DupFd(handle))


def _recv_handle(conn):
    handle = conn.recv()
    if not hasattr(handle, "detach"):
        raise RuntimeError("no descriptor was sent, but %.80r" % (handle,))
    return handle.detach()


multiprocessing.connection.wait = wait
reduction.send_handle = _handles_over(_send_handle, reduction.send_handle)
reduction.recv_handle = _handles_over(_recv_handle, reduction.recv_handle)
