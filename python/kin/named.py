"""Arenas by name: ``shop = kin.open("shop")``, and what programs share in them by name.

The programs may be no relatives, and be written in C: kin_arena_open("shop"), kin_queue_open(arena,
"clicks"). An object is there as long as a process has it; of two that open it at once one makes it.
"""

import os
import threading

from . import _kin

__all__ = ["Arena", "open"]

_opened = {}  # (name, path): Arena
_mutex = threading.Lock()
os.register_at_fork(after_in_child=_mutex._at_fork_reinit)  # a thread of the parent may have it


def open(name=None, *, path=None, create=True):
    """Join the arena of that name, or that lies in that file; make it if there is none.

    This process stays in it until it ends. The arena is gone with its last process, unless it is
    in a file. FileNotFoundError if there is none and create is false.
    """
    with _mutex:
        arena = _opened.get((name, path))
        if arena is None:
            arena = _opened[name, path] = Arena(name, path, _kin.open_arena(name, path, create))
        return arena


def arena_of(number):
    """How another process opens that arena; None: it is the one of the family."""
    for key, arena in list(_opened.items()):
        if arena._number == number:
            return key
    return None


def here(place):
    """The number of the arena that another process called that place."""
    name, path = place
    return open(name, path=path)._number


class Arena:
    """Where programs meet: the objects of a name, each made if there is none yet.

    What is asked for must be so where the object is there already: ValueError if it is otherwise,
    TypeError if it is an object of another kind. A semaphore, a barrier, a value and an array are
    asked for with what they are created with.
    """

    def __init__(self, name, path, number):
        self.name, self.path, self._number = name, path, number

    def __repr__(self):
        return f"<kin.Arena {self.name or self.path!r}>"

    def __reduce__(self):
        return _open_again, (self.name, self.path)

    def queue(self, name, maxsize=0, *, maxbytes=0, raw=False):
        """A Queue. raw: its items are bytes, as programs in C put and get them."""
        from .queues import Queue

        return Queue(maxsize, maxbytes=maxbytes, raw=raw, name=name, arena=self._number)

    def joinable_queue(self, name, maxsize=0, *, maxbytes=0, raw=False):
        """A JoinableQueue."""
        from .queues import JoinableQueue

        return JoinableQueue(maxsize, maxbytes=maxbytes, raw=raw, name=name, arena=self._number)

    def lifo_queue(self, name, maxsize=0, *, maxbytes=0, raw=False):
        """A LifoQueue."""
        from .queues import LifoQueue

        return LifoQueue(maxsize, maxbytes=maxbytes, raw=raw, name=name, arena=self._number)

    def priority_queue(self, name, maxsize=0, *, key=None, maxbytes=0, raw=False):
        """A PriorityQueue."""
        from .queues import PriorityQueue

        return PriorityQueue(
            maxsize, key=key, maxbytes=maxbytes, raw=raw, name=name, arena=self._number
        )

    def lock(self, name):
        """A Lock."""
        from .synchronize import Lock

        return Lock(name=name, arena=self._number)

    def rlock(self, name):
        """An RLock."""
        from .synchronize import RLock

        return RLock(name=name, arena=self._number)

    def semaphore(self, name, value=1):
        """A Semaphore."""
        from .synchronize import Semaphore

        return Semaphore(value, name=name, arena=self._number)

    def bounded_semaphore(self, name, value=1):
        """A BoundedSemaphore."""
        from .synchronize import BoundedSemaphore

        return BoundedSemaphore(value, name=name, arena=self._number)

    def event(self, name):
        """An Event."""
        from .synchronize import Event

        return Event(name=name, arena=self._number)

    def condition(self, name, lock):
        """A Condition over a Lock or RLock of this arena: all who open it give the same one."""
        from .synchronize import Condition

        return Condition(lock, name=name, arena=self._number)

    def barrier(self, name, parties, action=None, timeout=None):
        """A Barrier. The action is this process's own."""
        from .synchronize import Barrier

        return Barrier(parties, action, timeout, name=name, arena=self._number)

    def value(self, name, typecode_or_type):
        """A Value, zero at first."""
        from .sharedctypes import named_value

        return named_value(typecode_or_type, name, self._number)

    def array(self, name, typecode_or_type, size):
        """An Array of that many items, zeros at first."""
        from .sharedctypes import named_array

        return named_array(typecode_or_type, size, name, self._number)

    def shared_memory(self, name=None, create=False, size=0):
        """A SharedMemory: a new one, or the one of that name."""
        from .shared_memory import SharedMemory

        return SharedMemory(name, create, size, arena=self._number)


def _open_again(name, path):
    return open(name, path=path)
