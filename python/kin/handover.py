"""Handles that are pickled: to children of any start method, and through queues and pipes.

A child that is started anew finds its place in the arena first (see popen.py), and each handle as
it is unpickled. A handle that goes through a queue is a key, good as long as some process has the
object. One in an arena that has a name finds that by its name; who starts a child with one keeps it
until the child has it.
"""

from multiprocessing.context import get_spawning_popen

from . import _kin
from .named import arena_of, here

__all__ = ["handle_of", "kept"]


def _receive(cls, arena, key, more):
    handle = cls.__new__(cls)
    handle._open(arena, key, *more)
    return handle


def _receive_in_child(place, cls, arena, key, more):
    del place  # unpickled before: the child is in that arena
    return _receive(cls, arena, key, more)


def _receive_by_name(place, cls, key, more):
    return _receive(cls, here(place), key, more)


def _received(handle, parcel):
    """Tell the thread of the sender, which has kept the handle until now."""
    from multiprocessing import resource_sharer

    try:
        resource_sharer._resource_sharer.get_connection(parcel).close()
    except (OSError, EOFError):  # the sender has ended
        pass
    return handle


class _OnItsWay:
    """A handle that is sent: what is pickled of it is opened by the receiver."""

    def __init__(self, reduced):
        self._reduced = reduced

    def __reduce__(self):
        return self._reduced


def kept(reduced, let_go):
    """The same, of a handle that this process keeps until it is received: then let_go is called."""
    from multiprocessing import resource_sharer

    parcel = resource_sharer._resource_sharer.register(lambda conn, pid: None, let_go)
    return _received, (_OnItsWay(reduced), parcel)


def handle_of(handle, *more, state=None):
    """What __reduce__ of a handle returns; more: for its _open."""
    arena, key = _kin.key(handle)
    named = arena_of(arena)
    popen = get_spawning_popen()
    if named is not None:
        reduced = _receive_by_name, (named, type(handle), key, more), state
        # there are no offers in an arena that whoever knows its name may join
        return reduced if popen is None else kept(reduced, [handle].clear)
    offer = None if popen is None else getattr(popen, "_kin_offer", None)
    if offer is None:
        return _receive, (type(handle), arena, key, more), state
    place = offer(arena)
    key = place.add(handle)
    return _receive_in_child, (place, type(handle), arena, key, more), state
