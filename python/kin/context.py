"""Contexts: the factories of multiprocessing, which make kin's objects."""

import multiprocessing
import multiprocessing.context
from functools import partial
from multiprocessing.context import (
    AuthenticationError,
    BaseContext,
    BufferTooShort,
    ProcessError,
    TimeoutError,
    assert_spawning,
)

from . import executor

__all__ = ()


class Process(multiprocessing.context.Process):
    """A process of the start method in use."""

    @staticmethod
    def _Popen(process_obj):
        return _default_context.get_context().Process._Popen(process_obj)

    @staticmethod
    def _after_fork():
        after_fork = getattr(_default_context.get_context().Process, "_after_fork", None)
        return after_fork and after_fork()


class _Child:
    """Beside the process class of a start method: its child has that for its own children."""

    def _bootstrap(self, *args, **kwargs):
        begin(self._start_method)
        return super()._bootstrap(*args, **kwargs)


class ForkProcess(multiprocessing.context.ForkProcess):
    """A process that is forked. Its child has that method for its own children: ForkPopen sees to it."""

    @staticmethod
    def _Popen(process_obj):
        from .popen import ForkPopen

        return ForkPopen(process_obj)


class SpawnProcess(_Child, multiprocessing.context.SpawnProcess):
    """A process that is an interpreter started anew."""

    @staticmethod
    def _Popen(process_obj):
        from .popen import SpawnPopen

        return SpawnPopen(process_obj)


class ForkServerProcess(_Child, multiprocessing.context.ForkServerProcess):
    """A process that a server forks."""

    @staticmethod
    def _Popen(process_obj):
        from .popen import ForkServerPopen

        return ForkServerPopen(process_obj)


class _Factories:
    """What every context of kin makes."""

    def get_context(self, method=None):
        """This context, or that of another start method."""
        if method is None:
            return self
        try:
            return _contexts[method]
        except KeyError:  # one that a library such as loky has added, or a ValueError
            return super().get_context(method)

    def Lock(self, *, name=None):
        """Returns a non-recursive lock object"""
        from .synchronize import Lock

        return Lock(name=name, ctx=self)

    def RLock(self, *, name=None):
        """Returns a recursive lock object"""
        from .synchronize import RLock

        return RLock(name=name, ctx=self)

    def Condition(self, lock=None, *, name=None):
        """Returns a condition object"""
        from .synchronize import Condition

        return Condition(lock, name=name, ctx=self)

    def Semaphore(self, value=1, *, name=None):
        """Returns a semaphore object"""
        from .synchronize import Semaphore

        return Semaphore(value, name=name, ctx=self)

    def BoundedSemaphore(self, value=1, *, name=None):
        """Returns a bounded semaphore object"""
        from .synchronize import BoundedSemaphore

        return BoundedSemaphore(value, name=name, ctx=self)

    def Event(self, *, name=None):
        """Returns an event object"""
        from .synchronize import Event

        return Event(name=name, ctx=self)

    def Barrier(self, parties, action=None, timeout=None, *, name=None):
        """Returns a barrier object"""
        from .synchronize import Barrier

        return Barrier(parties, action, timeout, name=name, ctx=self)

    def Queue(self, maxsize=0, *, maxbytes=0, raw=False, name=None):
        """Returns a queue object"""
        from .queues import Queue

        return Queue(maxsize, maxbytes=maxbytes, raw=raw, name=name, ctx=self)

    def JoinableQueue(self, maxsize=0, *, maxbytes=0, raw=False, name=None):
        """Returns a queue object"""
        from .queues import JoinableQueue

        return JoinableQueue(maxsize, maxbytes=maxbytes, raw=raw, name=name, ctx=self)

    def SimpleQueue(self):
        """Returns a queue object"""
        from .queues import SimpleQueue

        return SimpleQueue(ctx=self)

    def LifoQueue(self, maxsize=0, *, maxbytes=0, raw=False, name=None):
        """Returns a queue whose newest item comes first"""
        from .queues import LifoQueue

        return LifoQueue(maxsize, maxbytes=maxbytes, raw=raw, name=name, ctx=self)

    def PriorityQueue(self, maxsize=0, *, key=None, maxbytes=0, raw=False, name=None):
        """Returns a queue whose smallest item comes first"""
        from .queues import PriorityQueue

        return PriorityQueue(
            maxsize, key=key, maxbytes=maxbytes, raw=raw, name=name, ctx=self
        )

    def Pipe(self, duplex=True):
        """Returns two connection object connected by a pipe"""
        from .connection import Pipe

        return Pipe(duplex)

    def RawValue(self, typecode_or_type, *args):
        """Returns a shared object"""
        from .sharedctypes import RawValue

        return RawValue(typecode_or_type, *args)

    def RawArray(self, typecode_or_type, size_or_initializer):
        """Returns a shared array"""
        from .sharedctypes import RawArray

        return RawArray(typecode_or_type, size_or_initializer)

    def Value(self, typecode_or_type, *args, lock=True):
        """Returns a synchronized shared object"""
        from .sharedctypes import Value

        return Value(typecode_or_type, *args, lock=lock, ctx=self.get_context())

    def Array(self, typecode_or_type, size_or_initializer, *, lock=True):
        """Returns a synchronized shared array"""
        from .sharedctypes import Array

        return Array(typecode_or_type, size_or_initializer, lock=lock, ctx=self.get_context())

    def Pool(self, processes=None, initializer=None, initargs=(), maxtasksperchild=None):
        """Returns a process pool object"""
        from .pool import Pool

        return Pool(
            processes, initializer, initargs, maxtasksperchild, context=self.get_context()
        )

    def get_start_method(self, allow_none=False):
        """The name of the start method."""
        executor.adopt(_is_ours)  # an executor asks before it makes its queues
        return self._name


def _is_ours(context):
    return isinstance(context, _Factories)


class ForkContext(_Factories, multiprocessing.context.ForkContext):
    """Children are forked and have every object of kin that their parent has."""

    Process = ForkProcess


class SpawnContext(_Factories, multiprocessing.context.SpawnContext):
    """Children are started anew and have the objects that they were given."""

    Process = SpawnProcess


class ForkServerContext(_Factories, multiprocessing.context.ForkServerContext):
    """Children are forked by a server and have the objects that they were given."""

    Process = ForkServerProcess


class DefaultContext(_Factories, multiprocessing.context.BaseContext):
    """What the functions of the package are methods of."""

    Process = Process

    def __init__(self):
        self._concrete = None

    def get_context(self, method=None):
        """The context of that start method; by default the one in use."""
        if method is None:
            if self._concrete is None:
                self._concrete = _contexts["fork"]
            return self._concrete
        return super().get_context(method)

    def set_start_method(self, method, force=False):
        """Use that start method from now on; None: none has been chosen yet."""
        if self._concrete is not None and not force:
            raise RuntimeError("context has already been set")
        self._concrete = None if method is None and force else self.get_context(method)

    def get_start_method(self, allow_none=False):
        """The name of the start method, which is fork if none was chosen."""
        if self._concrete is None and allow_none:
            return None
        return self.get_context().get_start_method()

    def get_all_start_methods(self):
        """The start methods that kin has, the usual one first."""
        return list(_contexts)


_contexts = {"fork": ForkContext(), "spawn": SpawnContext(), "forkserver": ForkServerContext()}
_default_context = DefaultContext()


def begin(method):
    """In a child that was started anew."""
    _default_context.set_start_method(method, force=True)


# The same for a forked child: no function of Python, which would be copied on use.
begin_forked = partial(setattr, _default_context, "_concrete", _contexts["fork"])


def is_installed():
    """Whether kin is in the place of multiprocessing."""
    return multiprocessing.get_context == _default_context.get_context
