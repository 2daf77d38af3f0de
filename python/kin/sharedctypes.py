"""Value, Array, RawValue, RawArray: ctypes objects over the shared memory of kin.

The wrappers are the standard library's; the memory, the lock and the atomic steps are kin's.
"""

import ctypes
from multiprocessing import sharedctypes as _standard
from multiprocessing.reduction import ForkingPickler
from multiprocessing.sharedctypes import (
    SynchronizedArray,
    SynchronizedBase,
    SynchronizedString,
    typecode_to_type,
)

from . import _kin
from .handover import handle_of
from .synchronize import RLock

__all__ = ["Array", "RawArray", "RawValue", "Value", "copy", "synchronized"]

_ATOMIC = "bBhHiIlLqQ?fd"


@_kin.own
class _Memory(_kin.Memory):
    """The memory of one object, until the last process that has it is gone."""

    def __reduce__(self):
        return handle_of(self, self._is_array)


def _letter(type_):
    """What the C library calls the type: only numbers have a letter."""
    letter = getattr(type_, "_type_", None) if issubclass(type_, ctypes._SimpleCData) else None
    return ord(letter) if letter is not None and letter in _ATOMIC + "c" else 0


def _laid_over(type_, memory, length=None):
    obj = _standard.rebuild_ctype(type_, memory, length)
    ForkingPickler.register(type(obj), _reduce)
    return obj


def _reduce(obj):
    if not isinstance(obj._wrapper, _Memory):
        return _standard.reduce_ctype(obj)
    if isinstance(obj, ctypes.Array):
        return _laid_over, (obj._type_, obj._wrapper, obj._length_)
    return _laid_over, (type(obj), obj._wrapper)


def _size(type_):
    try:
        return max(ctypes.sizeof(type_), 1)
    except TypeError:
        letters = "".join(typecode_to_type)
        raise TypeError(f"bad typecode {type_!r}: a ctypes type or one of {letters} is expected") from None


def _new_value(type_, *place):
    size = _size(type_)
    return _laid_over(type_, _Memory(False, _letter(type_), size, 1, *place))


def _new_array(type_, length, *place):
    if length < 0:
        raise ValueError("Array length must be >= 0, not %d" % length)
    size = _size(type_)
    type_ * length  # as the standard library's: OverflowError if it is too large
    return _laid_over(type_, _Memory(True, _letter(type_), size, max(length, 1), *place), length)


def RawValue(typecode_or_type, *args):
    """A ctypes object in shared memory, all zero or as its constructor makes it of args."""
    obj = _new_value(typecode_to_type.get(typecode_or_type, typecode_or_type))
    obj.__init__(*args)
    return obj


def RawArray(typecode_or_type, size_or_initializer):
    """A ctypes array in shared memory, of that many zeros or with those items."""
    type_ = typecode_to_type.get(typecode_or_type, typecode_or_type)
    if isinstance(size_or_initializer, int):
        return _new_array(type_, size_or_initializer)
    obj = _new_array(type_, len(size_or_initializer))
    if not _copied(obj, type_, size_or_initializer):
        obj.__init__(*size_or_initializer)
    return obj


def _copied(obj, type_, items):
    """Whether the items came from a buffer of the same type, and were copied at once."""
    if isinstance(items, (list, tuple, range, str)) or not issubclass(type_, ctypes._SimpleCData):
        return False
    try:
        view = memoryview(items)
    except TypeError:
        return False
    with view:
        if view.format != type_._type_ or view.ndim != 1 or not view.c_contiguous:
            return False
        memoryview(obj).cast("B")[:] = view.cast("B")
        return True


def copy(obj):
    """A new object in shared memory with the contents of that one."""
    if isinstance(obj, ctypes.Array):
        new = _new_array(obj._type_, obj._length_)
    else:
        new = _new_value(type(obj))
    ctypes.pointer(new)[0] = obj
    return new


def Value(typecode_or_type, *args, lock=True, ctx=None):
    """RawValue with a lock around it; lock: True for its own, False for none, or a lock."""
    return _wrapped(RawValue(typecode_or_type, *args), lock, ctx)


def Array(typecode_or_type, size_or_initializer, *, lock=True, ctx=None):
    """RawArray with a lock around it; lock: True for its own, False for none, or a lock."""
    return _wrapped(RawArray(typecode_or_type, size_or_initializer), lock, ctx)


def named_value(typecode_or_type, name, arena):
    """A Value in that arena: the one of that name, or a new one."""
    type_ = typecode_to_type.get(typecode_or_type, typecode_or_type)
    return synchronized(_new_value(type_, name, arena))


def named_array(typecode_or_type, size, name, arena):
    """An Array in that arena: the one of that name, or a new one."""
    type_ = typecode_to_type.get(typecode_or_type, typecode_or_type)
    return synchronized(_new_array(type_, size, name, arena))


def _wrapped(obj, lock, ctx):
    if lock is False:
        return obj
    if lock in (True, None):
        lock = None
    elif not hasattr(lock, "acquire"):
        raise AttributeError("%r has no method 'acquire'" % lock)
    return synchronized(obj, lock, ctx=ctx)


class Synchronized(_standard.Synchronized):
    """A number with a lock, and with atomic steps that need none."""

    def __init__(self, obj, lock=None, ctx=None):
        super().__init__(obj, lock, ctx)
        memory = obj._wrapper
        self.add, self.sub, self.exchange = memory.add, memory.sub, memory.exchange
        self.and_, self.or_, self.xor = memory.and_, memory.or_, memory.xor
        self.min, self.max = memory.min, memory.max
        self.compare_exchange = memory.compare_exchange

    def __reduce__(self):
        return _rebuild, (self._obj, self._lock)

    def __iadd__(self, number):
        self.add(number)
        return self

    def __isub__(self, number):
        self.sub(number)
        return self

    def wait(self, seen, timeout=None):
        """Wait until the value is not seen; whether it changed in time.

        Atomic steps wake who waits. After a write to ``.value`` call ``notify``.
        """
        return self._obj._wrapper._wait(type(self._obj)(seen), timeout)

    def notify(self):
        """Wake who waits for a change, after a write to ``.value``."""
        self._obj._wrapper._notify()


def synchronized(obj, lock=None, ctx=None):
    """The object with a lock around it."""
    assert not isinstance(obj, _standard.SynchronizedBase), "object already synchronized"
    memory = getattr(obj, "_wrapper", None)
    if not isinstance(memory, _Memory):
        return _standard.synchronized(obj, lock or RLock(), ctx)
    if lock is None:
        lock = memory._lock(RLock)
    if isinstance(obj, ctypes._SimpleCData) and _letter(type(obj)):
        return Synchronized(obj, lock, ctx)
    whole = _standard.synchronized(obj, lock, ctx)
    ForkingPickler.register(type(whole), _reduce_whole)
    return whole


def _reduce_whole(whole):
    if isinstance(getattr(whole._obj, "_wrapper", None), _Memory):
        return _rebuild, (whole._obj, whole._lock)
    return whole.__reduce__()


def _rebuild(obj, lock):
    return synchronized(obj, lock)
