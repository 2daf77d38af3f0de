"""Contexts: the factories of multiprocessing, which make kin's objects."""

import multiprocessing
import multiprocessing.context
from multiprocessing.context import (
    AuthenticationError,
    BaseContext,
    BufferTooShort,
    ForkProcess,
    ProcessError,
    TimeoutError,
    assert_spawning,
)

__all__ = ()

_ONLY_FORK = (
    "start method %r: kin's locks, queues and pipes reach children by fork only so far; use "
    "kin.get_context('fork'), or multiprocessing.get_context(%r) with the standard library's objects"
)


_standard = multiprocessing.get_context("fork")  # also after kin.install()


def _check_method(method):
    if method in (None, "fork"):
        return
    if method in ("spawn", "forkserver"):
        raise NotImplementedError(_ONLY_FORK % (method, method))
    raise ValueError("cannot find context for %r" % method)


class ForkContext(multiprocessing.context.ForkContext):
    """Children are forked and have every object of kin that their parent has."""

    def get_context(self, method=None):
        """This context; NotImplementedError for start methods that kin does not have yet."""
        _check_method(method)
        return self

    def Lock(self):
        """Returns a non-recursive lock object"""
        from .synchronize import Lock

        return Lock(ctx=self)

    def RLock(self):
        """Returns a recursive lock object"""
        from .synchronize import RLock

        return RLock(ctx=self)

    def Condition(self, lock=None):
        """Returns a condition object"""
        from .synchronize import Condition

        return Condition(lock, ctx=self)

    def Semaphore(self, value=1):
        """Returns a semaphore object"""
        from .synchronize import Semaphore

        return Semaphore(value, ctx=self)

    def BoundedSemaphore(self, value=1):
        """Returns a bounded semaphore object"""
        from .synchronize import BoundedSemaphore

        return BoundedSemaphore(value, ctx=self)

    def Event(self):
        """Returns an event object"""
        from .synchronize import Event

        return Event(ctx=self)

    def Barrier(self, parties, action=None, timeout=None):
        """Returns a barrier object"""
        from .synchronize import Barrier

        return Barrier(parties, action, timeout, ctx=self)

    def Queue(self, maxsize=0):
        """Returns a queue object"""
        from .queues import Queue

        return Queue(maxsize, ctx=self)

    def JoinableQueue(self, maxsize=0):
        """Returns a queue object"""
        from .queues import JoinableQueue

        return JoinableQueue(maxsize, ctx=self)

    def SimpleQueue(self):
        """Returns a queue object"""
        from .queues import SimpleQueue

        return SimpleQueue(ctx=self)

    def LifoQueue(self, maxsize=0):
        """Returns a queue whose newest item comes first"""
        from .queues import LifoQueue

        return LifoQueue(maxsize, ctx=self)

    def PriorityQueue(self, maxsize=0):
        """Returns a queue whose item of the smallest priority comes first"""
        from .queues import PriorityQueue

        return PriorityQueue(maxsize, ctx=self)

    def Pipe(self, duplex=True):
        """Returns two connection object connected by a pipe"""
        from .connection import Pipe

        return Pipe(duplex)

    def Pool(self, processes=None, initializer=None, initargs=(), maxtasksperchild=None):
        """Returns the standard library's process pool, on its own queues"""
        return _standard.Pool(
            processes, initializer, initargs, maxtasksperchild
        )

    def Manager(self):
        """Returns the standard library's manager, with its own objects"""
        return _standard.Manager()


class DefaultContext(ForkContext):
    """What the functions of the package are methods of."""

    def __init__(self, context):
        self._concrete = context

    def get_context(self, method=None):
        """The context of that start method; by default the one in use."""
        return self._concrete.get_context(method)

    def set_start_method(self, method, force=False):
        """Fork is the only start method so far."""
        _check_method(method)

    def get_start_method(self, allow_none=False):
        """The name of the start method."""
        return "fork"

    def get_all_start_methods(self):
        """The start methods that kin has."""
        return ["fork"]


_fork_context = ForkContext()
_default_context = DefaultContext(_fork_context)
