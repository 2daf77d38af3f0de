import ctypes
from multiprocessing.sharedctypes import SynchronizedArray as SynchronizedArray
from multiprocessing.sharedctypes import SynchronizedBase as SynchronizedBase
from multiprocessing.sharedctypes import SynchronizedString as SynchronizedString
from collections.abc import Callable, Iterable
from ctypes import _SimpleCData
from multiprocessing import sharedctypes as _standard
from typing import Any, Literal, TypeVar, overload

from typing_extensions import Self

from .synchronize import Lock, RLock

__all__ = ["Array", "RawArray", "RawValue", "Value", "copy", "synchronized"]

_T = TypeVar("_T")
_C = TypeVar("_C", bound=ctypes.Structure | ctypes.Union)

class Synchronized(_standard.Synchronized[_T]):
    add: Callable[[_T], _T]
    sub: Callable[[_T], _T]
    and_: Callable[[_T], _T]
    or_: Callable[[_T], _T]
    xor: Callable[[_T], _T]
    min: Callable[[_T], _T]
    max: Callable[[_T], _T]
    exchange: Callable[[_T], _T]
    compare_exchange: Callable[[_T, _T], bool]
    def __iadd__(self, number: _T) -> Self: ...
    def __isub__(self, number: _T) -> Self: ...
    def wait(self, seen: _T, timeout: float | None = None) -> bool: ...
    def notify(self) -> None: ...

@overload
def RawValue(typecode_or_type: type[_C], *args: Any) -> _C: ...
@overload
def RawValue(typecode_or_type: str | type[Any], *args: Any) -> Any: ...
def RawArray(typecode_or_type: Any, size_or_initializer: int | Iterable[Any]) -> Any: ...
def copy(obj: _T) -> _T: ...
@overload
def Value(
    typecode_or_type: Any, *args: Any, lock: Literal[False], ctx: object = None
) -> Any: ...
@overload
def Value(
    typecode_or_type: type[_SimpleCData[_T]],
    *args: Any,
    lock: Lock | RLock | Literal[True] = True,
    ctx: object = None,
) -> Synchronized[_T]: ...
@overload
def Value(
    typecode_or_type: str, *args: Any, lock: Lock | RLock | Literal[True] = True, ctx: object = None
) -> Synchronized[Any]: ...
@overload
def Value(
    typecode_or_type: type[_C],
    *args: Any,
    lock: Lock | RLock | Literal[True] = True,
    ctx: object = None,
) -> Any: ...
@overload
def Array(
    typecode_or_type: Any,
    size_or_initializer: int | Iterable[Any],
    *,
    lock: Literal[False],
    ctx: object = None,
) -> Any: ...
@overload
def Array(
    typecode_or_type: Any,
    size_or_initializer: int | Iterable[Any],
    *,
    lock: Lock | RLock | Literal[True] = True,
    ctx: object = None,
) -> _standard.SynchronizedArray[Any]: ...
def synchronized(obj: Any, lock: Lock | RLock | None = None, ctx: object = None) -> Any: ...
