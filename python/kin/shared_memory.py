"""SharedMemory and ShareableList: blocks that are gone with their last user, however that ended.

A block is in the memory of kin: /dev/shm is not used, and its size is no limit. Whoever has opened
it and not closed it is a user; so is the process that created it, until the name is unlinked.
"""

import errno
import os
import types
from multiprocessing import shared_memory as _standard

from . import _kin
from .named import arena_of, here

__all__ = ["ShareableList", "SharedMemory"]

_created = {}  # (arena, name): a block that this process created, until it is unlinked


def _forget_unlinked():
    for key, block in list(_created.items()):
        if not block.is_linked:
            _created.pop(key, None)


os.register_at_fork(after_in_child=_created.clear)


def _open(name, size, arena):
    if not name:
        raise OSError(errno.EINVAL, "a name has one byte at least", name)
    if len(os.fsencode(name)) > 31:
        raise OSError(errno.ENAMETOOLONG, "a name has 31 bytes at most", name)
    return _kin.Block(name, size, arena)


def _again(place, name):
    return SharedMemory(name, arena=here(place))


class SharedMemory:
    """A block of shared memory: a new one, or the one of that name.

    track is that of the standard library, and means nothing here: there is nothing to track.
    """

    _block = _buf = None

    def __init__(self, name=None, create=False, size=0, *, track=True, arena=0):
        if not size >= 0:
            raise ValueError("'size' must be a positive integer")
        if create and size == 0:
            raise ValueError("'size' must be a positive number different from zero")
        if name is None and not create:
            raise ValueError("'name' can only be None if create=True")
        if not isinstance(name, str | None):
            raise TypeError(f"'name' must be a str or None, not {type(name).__name__}")
        _forget_unlinked()
        self._arena = arena
        if name is None:
            self._create_somewhere(size)
        else:
            self._name = "/" + name.removeprefix("/")
            self._block = _open(self.name, size if create else 0, arena)
        if create:
            _created[arena, self.name] = self._block
        self._buf = memoryview(self._block)
        self._size = len(self._buf)

    def _create_somewhere(self, size):
        while self._block is None:
            self._name = _standard._make_filename()
            try:
                self._block = _open(self.name, size, self._arena)
            except FileExistsError:
                pass

    def __reduce__(self):
        if self._arena:
            return _again, (arena_of(self._arena), self.name)
        return type(self), (self.name, False, self._size)

    def __repr__(self):
        return f"{type(self).__name__}({self.name!r}, size={self._size})"

    @property
    def buf(self):
        """A memoryview of the block; None once it was closed."""
        return self._buf

    @property
    def name(self):
        """Its name in the arena."""
        return self._name.removeprefix("/")

    @property
    def size(self):
        """Its bytes."""
        return self._size

    def close(self):
        """This object is done with the block; what looks into it, as arrays do, may go on."""
        buf, self._buf, self._block = self._buf, None, None
        if buf is not None:
            try:
                buf.release()
            except BufferError:  # somebody looks into it: it stays until they are done
                pass

    def unlink(self):
        """Give up the name: nobody finds the block any more, and it is gone with its last user."""
        block = self._block
        if block is None or not block.is_linked:
            block = _open(self.name, 0, self._arena)
        if not block.unlink():
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), self.name)
        _forget_unlinked()


def _with_our_memory(function):
    """The function, for which SharedMemory is the one of this module."""
    names = {**vars(_standard), "SharedMemory": SharedMemory}
    copy = types.FunctionType(function.__code__, names, function.__name__, function.__defaults__)
    copy.__kwdefaults__ = function.__kwdefaults__
    return copy


class ShareableList(_standard.ShareableList):
    """A list of fixed length in a block of shared memory, which others find by the block's name."""

    __init__ = _with_our_memory(_standard.ShareableList.__init__)
