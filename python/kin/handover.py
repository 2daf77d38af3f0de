"""Handles that are pickled: to children of any start method, and through queues and pipes.

A child that is started anew finds its place in the arena first (see popen.py), and each handle as
it is unpickled. A handle that goes through a queue is a key, good as long as some process has the
object. One in an arena that has a name finds that by its name.
"""

from multiprocessing.context import get_spawning_popen

from . import _kin
from .named import arena_of, here

__all__ = ["handle_of"]


def _receive(cls, arena, key, more):
    handle = cls.__new__(cls)
    handle._open(arena, key, *more)
    return handle


def _receive_in_child(place, cls, arena, key, more):
    del place  # unpickled before: the child is in that arena
    return _receive(cls, arena, key, more)


def _receive_by_name(place, cls, key, more):
    return _receive(cls, here(place), key, more)


def handle_of(handle, *more, state=None):
    """What __reduce__ of a handle returns; more: for its _open."""
    arena, key = _kin.key(handle)
    named = arena_of(arena)
    if named is not None:
        return _receive_by_name, (named, type(handle), key, more), state
    popen = get_spawning_popen()
    offer = None if popen is None else getattr(popen, "_kin_offer", None)
    if offer is None:
        return _receive, (type(handle), arena, key, more), state
    place = offer(arena)
    key = place.add(handle)
    return _receive_in_child, (place, type(handle), arena, key, more), state
