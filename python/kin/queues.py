"""Queue, JoinableQueue, SimpleQueue, LifoQueue, PriorityQueue.

put pickles in the caller: its errors are raised there, and an item whose put returned is safe.
"""

import functools
from multiprocessing import queues as _standard
from queue import Empty, Full
from types import GenericAlias
from time import monotonic

from . import _kin, aio
from ._kin import ShutDown
from .handover import handle_of
from .order import plain

__all__ = ["Queue", "SimpleQueue", "JoinableQueue", "LifoQueue", "PriorityQueue"]

_FIFO, _LIFO, _PRIORITY = 0, 1, 2
_AT_ONCE = 256  # messages that go into one call of the library


def _left(end):
    return None if end is None else end - monotonic()


class _Standard:
    """Beside a queue, which for isinstance is one of the standard library, too."""

    def __setstate__(self, state):
        self.__dict__.update(state)

    @functools.cached_property
    def _reader(self):
        return _End(self)

    @functools.cached_property
    def _writer(self):
        return _End(self)


class _Async:
    """Beside a queue: put and get for event loops."""

    async def aget(self):
        """Take the next item; a coroutine that is cancelled has taken none."""
        while True:
            try:
                return self.get(False)
            except Empty:
                await aio.ready(self, aio.GET)

    async def aput(self, item):
        """Pickle and put an item; a coroutine that is cancelled has put none."""
        packed = [item if self._raw else _kin.pack_apart(item)]
        while True:
            try:
                self._put_many(packed, False, None)
                return
            except Full:
                await aio.ready(self, aio.PUT)


@_kin.own
class Queue(_Async, _Standard, _kin.Queue, _standard.Queue):
    """First in, first out; what a killed consumer had not returned from get is delivered again."""

    _kind, _joinable = _FIFO, False
    _is_closed = False

    def __init__(self, maxsize=0, *, maxbytes=0, raw=False, name=None, ctx=None, arena=0):
        super().__init__(maxsize, self._kind, self._joinable, maxbytes, raw, name, arena)
        self._maxsize = maxsize if maxsize > 0 else 0

    def __reduce__(self):
        return handle_of(self, bool(self._raw), state={"_maxsize": self._maxsize})

    def _open(self, arena, key, raw):
        super()._open(arena, key)
        self._raw = raw

    def __iter__(self):
        """The items, until the queue is shut down and drained."""
        try:
            while True:
                yield self.get()
        except ShutDown:
            pass

    __class_getitem__ = classmethod(GenericAlias)

    def put_nowait(self, obj):
        """put(obj, block=False)"""
        return self.put(obj, False)

    def get_nowait(self):
        """get(block=False)"""
        return self.get(False)

    def put_many(self, items, block=True, timeout=None):
        """Put all items in their order, many at once; returns how many were put.

        Full is raised only if none was put in time.
        """
        end = None if timeout is None else monotonic() + timeout
        waiting = list(items) if self._raw else [_kin.pack_apart(item) for item in items]
        done = 0
        while done < len(waiting):
            try:
                batch = waiting[done : done + _AT_ONCE]
                done += self._put_many(batch, bool(block), _left(end))
            except (Full, ShutDown):
                if done == 0:
                    raise
                break
        return done

    def get_many(self, n, block=True, timeout=None):
        """A list of up to n items: as many as there are, and at least one, for which it waits."""
        if n < 1:
            raise ValueError("n must be at least 1, not %r" % (n,))
        end = None if timeout is None else monotonic() + timeout
        items = self._get_many(n, bool(block), _left(end))
        while len(items) < n:
            try:
                items += self._get_many(n - len(items), False, None)
            except (Empty, ShutDown):
                break
        return items

    def close(self):
        """This process is done with the queue: put and get raise ValueError."""
        self._is_closed = True
        self._close(ValueError(f"Queue {self!r} is closed"))

    def join_thread(self):
        """There is no thread: what was put is in the queue."""
        assert self._is_closed, f"Queue {self!r} not closed"

    def cancel_join_thread(self):
        """There is no thread to wait for."""


@_kin.own
class JoinableQueue(Queue, _standard.JoinableQueue):
    """A queue that counts what is not done yet; what a dead consumer had got counts as done."""

    _joinable = True

    def task_done(self):
        """One item that was got is dealt with."""
        self._task_done()

    def join(self):
        """Wait until every item that was put is done."""
        self._join()


@_kin.own
class LifoQueue(JoinableQueue):
    """The newest item comes first."""

    _kind = _LIFO


@_kin.own
class PriorityQueue(JoinableQueue):
    """The smallest item comes first, among equals the oldest.

    Numbers, str, bytes, dates and times, None, and tuples, lists and ordered dataclasses that begin
    with such are compared as Python does, up to the first element that is something else. Other
    items are sorted by what key(item) says, or by the priority that is given.
    """

    _kind = _PRIORITY

    def __init__(self, maxsize=0, *, key=None, **more):
        super().__init__(maxsize, **more)
        self._key = key

    def __reduce__(self):
        return handle_of(
            self, bool(self._raw), state={"_maxsize": self._maxsize, "_key": self._key}
        )

    def put(self, obj, block=True, timeout=None, *, priority=None):
        """Pickle and put an item; Full if there is no room in time."""
        if priority is None:
            priority = obj if self._key is None else self._key(obj)
        return self._put_sorted(obj, priority, plain, block, timeout)

    async def aput(self, item, *, priority=None):
        """Pickle and put an item; a coroutine that is cancelled has put none."""
        while True:
            try:
                return self.put(item, False, priority=priority)
            except Full:
                await aio.ready(self, aio.PUT)

    def put_many(self, items, block=True, timeout=None):
        """Put all items, one by one; returns how many were put."""
        done = 0
        end = None if timeout is None else monotonic() + timeout
        for item in items:
            try:
                self.put(item, block, _left(end))
            except (Full, ShutDown):
                if done == 0:
                    raise
                break
            done += 1
        return done


class _End:
    """What pools and executors of the standard library, and programs, use of a queue's connections."""

    def __init__(self, queue):
        self._queue = queue
        self.recv, self.send = queue.get, queue.put

    @property
    def closed(self):
        """Whether the queue was closed in this process."""
        return self._queue._is_closed

    def close(self):
        """Nothing: a process keeps both ends until it closes the queue or ends."""

    def poll(self, timeout=0.0):
        """Whether there is an item."""
        from .connection import wait

        return not self._queue.empty() or bool(timeout != 0 and wait([self], timeout))

    def _is_ready(self):
        """Whether there is an item, without waiting."""
        return not self._queue.empty()

    def fileno(self):
        """A descriptor for event loops, made at the first call."""
        return self._queue._fileno()


class _NoLock:
    """In the place of the locks by which the standard library's own queues take turns."""

    def acquire(self, block=True, timeout=None):
        """There is nothing to wait for."""
        return True

    def release(self):
        """Nothing."""

    def __enter__(self):
        return True

    def __exit__(self, *args):
        pass


@_kin.own
class SimpleQueue(_Async, _Standard, _kin.Queue, _standard.SimpleQueue):
    """A queue without a bound; get waits as long as it takes unless told otherwise."""

    _rlock = _wlock = _NoLock()
    _is_closed = False

    def __init__(self, *, ctx=None):
        super().__init__()

    __reduce__ = handle_of
    __class_getitem__ = classmethod(GenericAlias)

    def empty(self):
        """Whether there is no item."""
        if self._is_closed:
            raise OSError("handle is closed")
        return super().empty()

    def close(self):
        """This process is done with the queue: put and get raise OSError."""
        self._is_closed = True
        self._close(OSError("handle is closed"))
