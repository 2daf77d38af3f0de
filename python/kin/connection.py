"""Pipe, Connection and wait; Listener and Client are the standard library's.

Descriptors of kin become readable now and then without a cause. So multiprocessing.connection.wait
becomes ours as soon as this is imported: executors of the standard library wait with it.
"""

import multiprocessing.connection
import time
from multiprocessing.connection import Client, Listener, answer_challenge, deliver_challenge
from multiprocessing.connection import wait as _standard_wait
from multiprocessing.context import BufferTooShort

from . import _kin
from .handover import handle_of

__all__ = ["Client", "Listener", "Pipe", "wait"]


class Connection(_kin.Pipe):
    """One end of a pipe: closed when every process that has it closed it or died."""

    readable = writable = True

    __reduce__ = handle_of

    def _is_ready(self):
        """Whether there is something to receive, without waiting."""
        return self.poll()

    def recv_bytes(self, maxlength=None):
        """Receive a message of bytes; OSError if it is longer than maxlength, and the end closes."""
        if maxlength is not None and maxlength < 0:
            raise ValueError("negative maxlength")
        message = self._recv_bytes()
        if maxlength is not None and len(message) > maxlength:
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


class _Receiver(Connection):
    writable = False


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
    if not any(hasattr(thing, "_is_ready") for thing in objects):
        return _standard_wait(objects, timeout)
    end = None if timeout is None else time.monotonic() + timeout
    while True:
        left = None if end is None else max(0, end - time.monotonic())
        found = _standard_wait(objects, left)
        ready = [o for o in found if not hasattr(o, "_is_ready") or o._is_ready()]
        if ready or (left is not None and left <= 0):
            return ready


multiprocessing.connection.wait = wait
