from collections.abc import Callable
from typing import Any, Protocol, type_check_only

from . import _kin, aio

__all__ = ["Lock", "RLock", "Semaphore", "BoundedSemaphore", "Condition", "Event", "Barrier"]

SEM_VALUE_MAX: int


@type_check_only
class _Acquire(Protocol):
    def __call__(self, block: bool = True, timeout: float | None = None) -> bool: ...

class Lock(aio.AsyncLock, _kin.Lock):
    def __init__(
        self, *, name: str | None = None, ctx: object = None, arena: int = 0
    ) -> None: ...

class RLock(_kin.RLock):
    def __init__(
        self, *, name: str | None = None, ctx: object = None, arena: int = 0
    ) -> None: ...

class Semaphore(aio.AsyncLock, _kin.Semaphore):
    def __init__(
        self, value: int = 1, *, name: str | None = None, ctx: object = None, arena: int = 0
    ) -> None: ...

class BoundedSemaphore(Semaphore):
    def __init__(
        self, value: int = 1, *, name: str | None = None, ctx: object = None, arena: int = 0
    ) -> None: ...

class Condition(_kin.Condition):
    def __init__(
        self,
        lock: Lock | RLock | None = None,
        *,
        name: str | None = None,
        ctx: object = None,
        arena: int = 0,
    ) -> None: ...
    acquire: _Acquire
    release: Callable[[], None]
    def __enter__(self) -> bool: ...
    def __exit__(self, *args: object) -> None: ...
    def wait_for(self, predicate: Callable[[], Any], timeout: float | None = None) -> Any: ...

class Event(_kin.Event):
    def __init__(
        self, *, name: str | None = None, ctx: object = None, arena: int = 0
    ) -> None: ...

class Barrier(_kin.Barrier):
    def __init__(
        self,
        parties: int,
        action: Callable[[], object] | None = None,
        timeout: float | None = None,
        *,
        name: str | None = None,
        ctx: object = None,
        arena: int = 0,
    ) -> None: ...
