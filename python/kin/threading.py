"""The names of the module threading; its locks are kin's, and good between processes too.

Thread, Timer, local and all else are the standard library's own.
"""

import threading as _standard
import warnings
from threading import *  # noqa: F403
from threading import TIMEOUT_MAX

from . import synchronize

__all__ = list(_standard.__all__)


def __getattr__(name):
    return getattr(_standard, name)


def _timeout(blocking, timeout):
    """What a timeout of threading is for the locks of multiprocessing."""
    if timeout == -1:
        return None
    if not blocking:
        raise ValueError("can't specify a timeout for a non-blocking call")
    if timeout < 0:
        raise ValueError("timeout value must be a non-negative number")
    if timeout > TIMEOUT_MAX:
        raise OverflowError("timeout value is too large")
    return timeout


class _Repr:
    """How objects of threading show themselves."""

    def __repr__(self):
        return f"<threading.{type(self).__qualname__} at {id(self):#x}: {self._state()}>"


class Lock(synchronize.Lock):
    """A lock, of which the standard library would say that it is not owned by anybody."""

    def acquire(self, blocking=True, timeout=-1):
        """Acquire; True, or False when the time is over."""
        return super().acquire(blocking, _timeout(blocking, timeout))

    def release(self):
        """Release; RuntimeError if nobody holds it."""
        try:
            super().release()
        except ValueError:
            raise RuntimeError("release unlocked lock") from None

    def __exit__(self, *args):
        self.release()

    def __repr__(self):
        state = "locked" if self.locked() else "unlocked"
        return f"<{state} kin.threading.Lock object at {id(self):#x}>"


class RLock(synchronize.RLock):
    """A lock that the thread which holds it may acquire again."""

    def acquire(self, blocking=True, timeout=-1):
        """Acquire; True, or False when the time is over."""
        return super().acquire(blocking, _timeout(blocking, timeout))

    def release(self):
        """Release; RuntimeError if this thread does not hold it."""
        try:
            super().release()
        except AssertionError:
            raise RuntimeError("cannot release un-acquired lock") from None

    def __exit__(self, *args):
        self.release()

    def _is_owned(self):
        return self._depth() > 0

    _recursion_count = synchronize.RLock._depth

    def _release_save(self):
        depth = self._depth()
        for _ in range(max(depth, 1)):
            self.release()
        return depth

    def _acquire_restore(self, depth):
        for _ in range(depth):
            self.acquire()

    def __repr__(self):
        state = "locked" if self.locked() else "unlocked"
        return f"<{state} kin.threading.RLock object count={self._depth()} at {id(self):#x}>"


class Condition(_Repr, synchronize.Condition):
    """Wait, with a lock released meanwhile, until another one says that something changed."""

    def __init__(self, lock=None, **more):
        super().__init__(RLock() if lock is None else lock, **more)

    def wait(self, timeout=None):
        """Wait until notified; False when the time is over."""
        try:
            return super().wait(timeout)
        except AssertionError:
            raise RuntimeError("cannot wait on un-acquired lock") from None

    def notify(self, n=1):
        """Wake n of those who wait."""
        try:
            super().notify(n)
        except AssertionError:
            raise RuntimeError("cannot notify on un-acquired lock") from None

    def notify_all(self):
        """Wake all who wait."""
        try:
            super().notify_all()
        except AssertionError:
            raise RuntimeError("cannot notify on un-acquired lock") from None

    def notifyAll(self):
        """The old name of notify_all."""
        warnings.warn("notifyAll() is deprecated, use notify_all() instead", DeprecationWarning, 2)
        self.notify_all()

    def _state(self):
        return f"{self._lock!r}, {self._waiting()}"


class _Permits(_Repr):
    """Beside a semaphore."""

    def __init__(self, value=1, **more):
        if value < 0:
            raise ValueError("semaphore initial value must be >= 0")
        super().__init__(value, **more)

    def acquire(self, blocking=True, timeout=None):
        """Take a permit; False when the time is over."""
        if not blocking and timeout is not None:
            raise ValueError("can't specify timeout for non-blocking acquire")
        return super().acquire(blocking, timeout)

    def release(self, n=1):
        """Give n permits back, or new ones."""
        if n < 1:
            raise ValueError("n must be one or more")
        self._release_many(n)


class Semaphore(_Permits, synchronize.Semaphore):
    """A number of permits."""

    def _state(self):
        return f"value={self.get_value()}"


class BoundedSemaphore(_Permits, synchronize.BoundedSemaphore):
    """A semaphore that is never released beyond its initial value."""

    def _state(self):
        return f"value={self.get_value()}/{self._maxvalue}"


class Event(_Repr, synchronize.Event):
    """A flag that threads wait for."""

    def isSet(self):
        """The old name of is_set."""
        warnings.warn("isSet() is deprecated, use is_set() instead", DeprecationWarning, 2)
        return self.is_set()

    def _state(self):
        return "set" if self.is_set() else "unset"


class Barrier(_Repr, synchronize.Barrier):
    """Parties wait for one another."""

    def _state(self):
        return "broken" if self.broken else f"waiters={self.n_waiting}/{self.parties}"
