from collections.abc import Iterable
from multiprocessing import shared_memory as _standard
from typing import TypeVar, overload

__all__ = ["ShareableList", "SharedMemory"]

_T = TypeVar("_T", int, float, bool, str, bytes, None)

class SharedMemory:
    def __init__(
        self,
        name: str | None = None,
        create: bool = False,
        size: int = 0,
        *,
        track: bool = True,
        arena: int = 0,
    ) -> None: ...
    @property
    def buf(self) -> memoryview | None: ...
    @property
    def name(self) -> str: ...
    @property
    def size(self) -> int: ...
    def close(self) -> None: ...
    def unlink(self) -> None: ...

class ShareableList(_standard.ShareableList[_T]):
    shm: SharedMemory  # type: ignore[assignment]
    @overload
    def __init__(self, sequence: None = None, *, name: str | None = None) -> None: ...
    @overload
    def __init__(self, sequence: Iterable[_T], *, name: str | None = None) -> None: ...
