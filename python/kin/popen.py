"""Children, beside the standard library's: each has a place in the arena.

A child that is forked is one of kin's processes. For those that are interpreters started anew, what tells a child how to begin (spawn.get_preparation_data) also brings it into the arena, before
its main module is imported. So what that module makes of kin is made in the family's arena.
"""

import atexit
import contextlib
import os
import sys
import threading
from functools import partial
from multiprocessing import (
    forkserver, popen_fork, popen_forkserver, popen_spawn_posix, process, resource_tracker, spawn, util
)
from multiprocessing.context import get_spawning_popen

from . import _kin, context, synchronize

__all__ = ["ForkPopen", "ForkServerPopen", "SpawnPopen"]

_launching = threading.local()

# A fork for which preserve_fd is set goes on to use the resource tracker of its parent (3.14, 3.15).
_intent = getattr(resource_tracker, "_fork_intent", None) or threading.local()


def _bootstrap(process_obj, parent_sentinel):
    """In the child. Since 3.13 what is to be done at its end is done here, and before by process_obj."""
    _intent.preserve_fd = False
    atexit._clear()
    atexit.register(util._exit_function)
    try:
        return process_obj._bootstrap(parent_sentinel=parent_sentinel)
    finally:
        atexit._run_exitfuncs()


# What the standard library runs for who started it: a server, a worker of an executor.
_SERVANTS = frozenset(("concurrent.futures.process", "multiprocessing.managers"))


def _ends_with_parent(process_obj):
    """Whether it is killed when its parent ends, even if that has no time to tell it."""
    target = process_obj._target
    return process_obj.daemon or getattr(target, "__module__", None) in _SERVANTS


def _fork(process_obj, bootstrap):
    calls = (bootstrap,) if process_obj._start_method is None else (context.begin_forked, bootstrap)
    return _kin.Child(calls, process_obj._name, _ends_with_parent(process_obj))


class ForkPopen(popen_fork.Popen):
    """A fork. Its sentinel is a pidfd, and so is its parent's, for which it needs no pipe.

    After a fork each page that parent or child uses first costs a fault, or a copy: so there is little
    Python here, and less in the child.
    """

    if sys.version_info < (3, 13):

        def _launch(self, process_obj):
            self._child = _fork(process_obj, process_obj._bootstrap)
            self.pid, self.sentinel = self._child.pid, self._child.fileno()

    else:

        def _launch(self, process_obj):
            _intent.preserve_fd = True
            try:
                self._child = _fork(process_obj, partial(_bootstrap, process_obj))
            finally:
                _intent.preserve_fd = False
            self.pid, self.sentinel = self._child.pid, self._child.fileno()

    def close(self):
        """The handle is closed, not the process."""
        self.__dict__.pop("_child", None)

    def poll(self, flag=os.WNOHANG):
        """The exit code, or None; without WNOHANG it waits. Only its parent learns it."""
        if self.returncode is None:
            try:
                if flag != os.WNOHANG:
                    self._child.join()
                self.returncode = self._child.exitcode()
            except ChildProcessError:  # one of its brothers asks
                pass
        return self.returncode

    def wait(self, timeout=None):
        """The exit code, or None when the timeout passes."""
        if self.returncode is None and self._child.join(timeout):
            self.returncode = self._child.exitcode()
        return self.returncode

    def _send_signal(self, sig):
        if self.returncode is None:
            try:
                self._child.send_signal(sig)
            except ChildProcessError:  # one of its brothers
                with contextlib.suppress(ProcessLookupError):
                    os.kill(self.pid, sig)


class _Path:
    """Unpickled first: kin is found where the parent found it."""

    def __reduce__(self):
        path = [p for p in sys.path if isinstance(p, str)]
        return exec, (f"import sys\nsys.path[:] = {path!r}",)


class _Place:
    """A child's place in an arena."""

    def __init__(self, popen, arena, name, ends_with_parent):
        self._arena = arena
        self._offer, memory, token, self._number, lifeline = _kin.offer(arena, name, ends_with_parent)
        fds = (memory, token, lifeline) if ends_with_parent else (memory, token)
        self._fds = tuple(popen.DupFd(popen.duplicate_for_child(fd)) for fd in fds)

    def add(self, handle):
        """The key under which the child finds it."""
        return _kin.offer_add(self._offer, handle)

    def __reduce__(self):
        return _take_place, (self._arena, self._number, *self._fds)


def _take_place(arena, number, memory, token, *lifeline):
    if not _kin.is_known(arena):
        _kin.accept(memory.detach(), token.detach(), number, *(fd.detach() for fd in lifeline))


class _Beginning:
    """How a child begins, as far as kin is concerned."""

    def __reduce__(self):
        popen = get_spawning_popen()
        place = popen._kin_offer(_kin.arena_id())
        return _begin, (place, context.is_installed(), popen.method)


def _leaving(bootstrap):
    """A child of the server ends without taking down its objects: it must not seem to die at a barrier."""

    def run(*args, **kwargs):
        code = bootstrap(*args, **kwargs)
        synchronize.leave_barriers()
        return code

    return run


def _begin(place, is_installed, method):
    from . import install

    context.begin(method)
    if method == "forkserver":
        process.BaseProcess._bootstrap = _leaving(process.BaseProcess._bootstrap)
    if is_installed:
        install()


_standard_preparation_data = spawn.get_preparation_data


def _get_preparation_data(name):
    data = _standard_preparation_data(name)
    if getattr(_launching, "popen", None) is not None:
        data = {"kin_path": _Path(), "kin": _Beginning(), **data}
    return data


spawn.get_preparation_data = _get_preparation_data


class _Popen:
    """Beside the Popen of the standard library."""

    def _launch(self, process_obj):
        self._kin_places, self._kin_process = {}, process_obj
        _launching.popen = self
        try:
            super()._launch(process_obj)
        finally:
            _launching.popen = None
            self._kin_process = None
            self._kin_places.clear()  # the child has its own descriptors by now

    def poll(self, flag=os.WNOHANG):
        """The exit code, or None; what the child left behind in the arena is repaired at once."""
        had_ended = self.returncode is not None
        code = super().poll(flag)
        if code is not None and not had_ended:
            _kin.arena_reap()
        return code

    def _kin_offer(self, arena):
        """The place of the child in that arena."""
        if arena not in self._kin_places:
            process = self._kin_process
            self._kin_places[arena] = _Place(self, arena, process.name, _ends_with_parent(process))
        return self._kin_places[arena]


class SpawnPopen(_Popen, popen_spawn_posix.Popen):
    """A fresh interpreter."""

    DupFd = popen_spawn_posix.Popen.DupFd


class ForkServerPopen(_Popen, popen_forkserver.Popen):
    """A fork of the server of the standard library."""

    DupFd = popen_forkserver.Popen.DupFd

    def _launch(self, process_obj):
        server = forkserver._forkserver
        if context.is_installed() and "kin.preload" not in server._preload_modules:
            # The server imports __main__ before all others, with the standard library's
            # multiprocessing: so it may not, and each child does it.
            others = [name for name in server._preload_modules if name != "__main__"]
            server._preload_modules = ["kin.preload", *others]
        super()._launch(process_obj)
