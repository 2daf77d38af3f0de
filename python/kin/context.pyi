import multiprocessing.context
from collections.abc import Callable, Iterable
from ctypes import _SimpleCData
from multiprocessing.context import AuthenticationError as AuthenticationError
from multiprocessing.context import BaseContext as BaseContext
from multiprocessing.context import BufferTooShort as BufferTooShort
from multiprocessing.context import ProcessError as ProcessError
from multiprocessing.context import TimeoutError as TimeoutError
from multiprocessing.context import assert_spawning as assert_spawning
from multiprocessing.sharedctypes import SynchronizedArray
from typing import Any, ClassVar, Literal, TypeVar, overload

from . import queues, synchronize
from .connection import Connection
from .pool import Pool as _Pool
from .sharedctypes import Synchronized

__all__ = ()

_T = TypeVar("_T")

class Process(multiprocessing.context.Process): ...

class _Child:
    def _bootstrap(self, *args: Any, **kwargs: Any) -> Any: ...

class ForkProcess(_Child, multiprocessing.context.ForkProcess): ...
class SpawnProcess(_Child, multiprocessing.context.SpawnProcess): ...
class ForkServerProcess(_Child, multiprocessing.context.ForkServerProcess): ...

class _Factories:
    @overload
    def get_context(self, method: None = None) -> Any: ...
    @overload
    def get_context(self, method: Literal["spawn"]) -> SpawnContext: ...
    @overload
    def get_context(self, method: Literal["fork"]) -> ForkContext: ...
    @overload
    def get_context(self, method: Literal["forkserver"]) -> ForkServerContext: ...
    @overload
    def get_context(self, method: str) -> Any: ...
    def Lock(self, *, name: str | None = None) -> synchronize.Lock: ...
    def RLock(self, *, name: str | None = None) -> synchronize.RLock: ...
    def Condition(
        self,
        lock: synchronize.Lock | synchronize.RLock | None = None,
        *,
        name: str | None = None,
    ) -> synchronize.Condition: ...
    def Semaphore(self, value: int = 1, *, name: str | None = None) -> synchronize.Semaphore: ...
    def BoundedSemaphore(
        self, value: int = 1, *, name: str | None = None
    ) -> synchronize.BoundedSemaphore: ...
    def Event(self, *, name: str | None = None) -> synchronize.Event: ...
    def Barrier(
        self,
        parties: int,
        action: Callable[[], object] | None = None,
        timeout: float | None = None,
        *,
        name: str | None = None,
    ) -> synchronize.Barrier: ...
    def Queue(
        self,
        maxsize: int = 0,
        *,
        maxbytes: int = 0,
        raw: bool = False,
        name: str | None = None,
    ) -> queues.Queue[Any]: ...
    def JoinableQueue(
        self,
        maxsize: int = 0,
        *,
        maxbytes: int = 0,
        raw: bool = False,
        name: str | None = None,
    ) -> queues.JoinableQueue[Any]: ...
    def SimpleQueue(self) -> queues.SimpleQueue[Any]: ...
    def LifoQueue(
        self,
        maxsize: int = 0,
        *,
        maxbytes: int = 0,
        raw: bool = False,
        name: str | None = None,
    ) -> queues.LifoQueue[Any]: ...
    def PriorityQueue(
        self,
        maxsize: int = 0,
        *,
        key: Callable[[Any], object] | None = None,
        maxbytes: int = 0,
        raw: bool = False,
        name: str | None = None,
    ) -> queues.PriorityQueue[Any]: ...
    def Pipe(self, duplex: bool = True) -> tuple[Connection, Connection]: ...
    def RawValue(self, typecode_or_type: Any, *args: Any) -> Any: ...
    def RawArray(
        self, typecode_or_type: Any, size_or_initializer: int | Iterable[Any]
    ) -> Any: ...
    @overload
    def Value(self, typecode_or_type: Any, *args: Any, lock: Literal[False]) -> Any: ...
    @overload
    def Value(
        self,
        typecode_or_type: type[_SimpleCData[_T]],
        *args: Any,
        lock: synchronize.Lock | synchronize.RLock | Literal[True] = True,
    ) -> Synchronized[_T]: ...
    @overload
    def Value(
        self,
        typecode_or_type: str,
        *args: Any,
        lock: synchronize.Lock | synchronize.RLock | Literal[True] = True,
    ) -> Synchronized[Any]: ...
    @overload
    def Array(
        self,
        typecode_or_type: Any,
        size_or_initializer: int | Iterable[Any],
        *,
        lock: Literal[False],
    ) -> Any: ...
    @overload
    def Array(
        self,
        typecode_or_type: Any,
        size_or_initializer: int | Iterable[Any],
        *,
        lock: synchronize.Lock | synchronize.RLock | Literal[True] = True,
    ) -> SynchronizedArray[Any]: ...
    def Pool(
        self,
        processes: int | None = None,
        initializer: Callable[..., object] | None = None,
        initargs: Iterable[Any] = (),
        maxtasksperchild: int | None = None,
    ) -> _Pool: ...
    def get_start_method(self, allow_none: bool = False) -> Any: ...

class ForkContext(_Factories, multiprocessing.context.ForkContext):  # type: ignore[misc]
    Process: ClassVar[type[ForkProcess]]

class SpawnContext(_Factories, multiprocessing.context.SpawnContext):  # type: ignore[misc]
    Process: ClassVar[type[SpawnProcess]]

class ForkServerContext(_Factories, multiprocessing.context.ForkServerContext):  # type: ignore[misc]
    Process: ClassVar[type[ForkServerProcess]]

class DefaultContext(_Factories, multiprocessing.context.BaseContext):  # type: ignore[misc]
    Process: ClassVar[type[Process]]
    def __init__(self) -> None: ...
    def set_start_method(self, method: str | None, force: bool = False) -> None: ...
    def get_all_start_methods(self) -> list[str]: ...

_default_context: DefaultContext

def begin(method: str) -> None: ...
def is_installed() -> bool: ...
