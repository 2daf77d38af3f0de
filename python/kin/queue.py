"""The names of the module queue over kin's queues: between threads, and between processes too.

Items are pickled, or written in a form of kin's own, as between processes: who gets one has a copy.
"""

from queue import Empty, Full

from . import queues
from ._kin import ShutDown

__all__ = ["Empty", "Full", "LifoQueue", "PriorityQueue", "Queue", "ShutDown", "SimpleQueue"]


def _check(block, timeout):
    if block and timeout is not None and timeout < 0:
        raise ValueError("'timeout' must be a non-negative number")


class _Bounded:
    """Beside a queue: its bound is fixed, and a negative timeout is an error."""

    @property
    def maxsize(self):
        """How many items fit; 0: no bound."""
        return self._maxsize

    @property
    def unfinished_tasks(self):
        """Items that were put and are not done yet."""
        return self._unfinished()

    def put(self, item, block=True, timeout=None, **more):
        """Put an item; Full if there is no room in time."""
        _check(block, timeout)
        super().put(item, block, timeout, **more)

    def put_nowait(self, item):
        """put(item, block=False)"""
        return self.put(item, False)

    def get(self, block=True, timeout=None):
        """Take the next item; Empty if there is none in time."""
        _check(block, timeout)
        return super().get(block, timeout)


class Queue(_Bounded, queues.JoinableQueue):
    """First in, first out."""


class LifoQueue(_Bounded, queues.LifoQueue):
    """The newest item comes first."""


class PriorityQueue(_Bounded, queues.PriorityQueue):
    """The smallest item comes first, among equals the oldest."""


class SimpleQueue(queues.SimpleQueue):
    """Without a bound, and without task_done and join."""

    def put(self, item, block=True, timeout=None):
        """Put an item; this never waits."""
        super().put(item)

    def put_nowait(self, item):
        """The same."""
        super().put(item)

    def get(self, block=True, timeout=None):
        """Take the next item; Empty if there is none in time."""
        _check(block, timeout)
        return super().get(block, timeout)

    def get_nowait(self):
        """get(block=False)"""
        return super().get(False)
