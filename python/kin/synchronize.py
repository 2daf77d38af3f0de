"""Lock, RLock, Semaphore, BoundedSemaphore, Condition, Event, Barrier."""

import os
import threading
import time
import weakref
from multiprocessing import process

from . import _kin, aio
from .handover import handle_of

__all__ = ["Lock", "RLock", "Semaphore", "BoundedSemaphore", "Condition", "Event", "Barrier"]

SEM_VALUE_MAX = (1 << 27) - 1


def _owner_name(lock):
    """Who holds it, in the words of the standard library; and whether it is this thread."""
    owner = lock._owner()
    if owner is None:
        return "None", False
    if owner == (os.getpid(), threading.get_native_id()):
        name = process.current_process().name
        if threading.current_thread().name != "MainThread":
            name += "|" + threading.current_thread().name
        return name, True
    return ("SomeOtherThread" if owner[0] == os.getpid() else "SomeOtherProcess"), False


class _SemLock:
    """What modules of the standard library ask the locks of a context for, past their methods."""

    def __init__(self, lock):
        self._lock = lock

    def _is_zero(self):
        return self._lock.locked()

    def _get_value(self):
        return self._lock.get_value() if hasattr(self._lock, "get_value") else int(
            not self._lock.locked()
        )

    def _is_mine(self):
        return _owner_name(self._lock)[1]

    def _count(self):
        return self._lock._depth() if hasattr(self._lock, "_depth") else int(self._is_mine())


@_kin.own
class Lock(aio.AsyncLock, _kin.Lock):
    """A lock that any process or thread may release, and that survives its holder."""

    def __init__(self, *, name=None, ctx=None, arena=0):
        super().__init__(name, arena)

    __reduce__ = handle_of
    _semlock = property(_SemLock)
    _wait_kind = aio.LOCK

    def __repr__(self):
        return "<%s(owner=%s)>" % (type(self).__name__, _owner_name(self)[0])


def _own_lock(memory):
    return memory._lock(RLock)


@_kin.own
class RLock(_kin.RLock):
    """A lock that its holder may acquire again, and that survives its holder."""

    def __init__(self, *, name=None, ctx=None, arena=0):
        super().__init__(name, arena)

    _semlock = property(_SemLock)

    def __reduce__(self):
        if self._whole is not None:
            return _own_lock, (self._whole,)
        return handle_of(self)

    def __repr__(self):
        name, mine = _owner_name(self)
        count = self._depth() if mine else 0 if name == "None" else "nonzero"
        return "<%s(%s, %s)>" % (type(self).__name__, name, count)


@_kin.own
class Semaphore(aio.AsyncLock, _kin.Semaphore):
    """A number of permits; those of the dead come back."""

    def __init__(self, value=1, *, name=None, ctx=None, arena=0):
        super().__init__(value, False, name, arena)

    _wait_kind = aio.SEMAPHORE
    __reduce__ = handle_of
    _semlock = property(_SemLock)

    def __repr__(self):
        return "<%s(value=%s)>" % (type(self).__name__, self.get_value())


@_kin.own
class BoundedSemaphore(Semaphore):
    """A semaphore that is never released beyond its initial value."""

    def __init__(self, value=1, *, name=None, ctx=None, arena=0):
        _kin.Semaphore.__init__(self, value, True, name, arena)
        self._maxvalue = value

    def __reduce__(self):
        return handle_of(self, state={"_maxvalue": self._maxvalue})

    def __repr__(self):
        return "<%s(value=%s, maxvalue=%s)>" % (
            type(self).__name__,
            self.get_value(),
            self._maxvalue,
        )


@_kin.own
class Condition(_kin.Condition):
    """Wait, with a lock released meanwhile, until another one says that something changed."""

    def __init__(self, lock=None, *, name=None, ctx=None, arena=0):
        if lock is None and name is not None:
            raise ValueError("a condition that has a name is given its lock, which has one, too")
        self._use(lock or RLock(ctx=ctx))
        super().__init__(self._lock, name, arena)

    def _use(self, lock):
        self._lock = lock
        self.acquire, self.release = lock.acquire, lock.release

    def __reduce__(self):
        return handle_of(self, self._lock)

    def _open(self, arena, key, lock):
        super()._open(arena, key, lock)
        self._use(lock)

    def __enter__(self):
        return self._lock.__enter__()

    def __exit__(self, *args):
        return self._lock.__exit__(*args)

    def __repr__(self):
        return "<%s(%s, %s)>" % (type(self).__name__, self._lock, self._waiting())

    def wait_for(self, predicate, timeout=None):
        """Wait until predicate() is true; its result, whatever it is when the time is over."""
        end = None if timeout is None else time.monotonic() + timeout
        result = predicate()
        while not result:
            left = None if end is None else end - time.monotonic()
            if left is not None and left <= 0:
                break
            self.wait(left)
            result = predicate()
        return result


@_kin.own
class Event(_kin.Event):
    """A flag that processes and threads wait for."""

    def __init__(self, *, name=None, ctx=None, arena=0):
        super().__init__(name, arena)

    __reduce__ = handle_of

    def __repr__(self):
        state = "set" if self.is_set() else "unset"
        return f"<{type(self).__qualname__} at {id(self):#x} {state}>"


_barriers = weakref.WeakSet()


def leave_barriers():
    """At the end of a process whose objects nobody takes down: it has not died at a barrier."""
    for barrier in list(_barriers):
        barrier._leave()


@_kin.own
class Barrier(_kin.Barrier):
    """Parties wait for one another; it is broken when one of them dies."""

    def __init__(self, parties, action=None, timeout=None, *, name=None, ctx=None, arena=0):
        super().__init__(parties, action, timeout, name, arena)
        _barriers.add(self)

    def _open(self, *where):
        super()._open(*where)
        _barriers.add(self)

    def __reduce__(self):
        return handle_of(self, *self._how())

    def __repr__(self):
        if self.broken:
            return f"<{type(self).__qualname__} at {id(self):#x}: broken>"
        return (
            f"<{type(self).__qualname__} at {id(self):#x}:"
            f" waiters={self.n_waiting}/{self.parties}>"
        )
