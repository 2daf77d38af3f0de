from queue import Empty as Empty
from queue import Full as Full
from typing import Generic, TypeVar

from . import queues
from ._kin import ShutDown as ShutDown

__all__ = ["Empty", "Full", "LifoQueue", "PriorityQueue", "Queue", "ShutDown", "SimpleQueue"]

_T = TypeVar("_T")

class _Bounded(Generic[_T]):
    @property
    def maxsize(self) -> int: ...
    @property
    def unfinished_tasks(self) -> int: ...
    def put(self, item: _T, block: bool = True, timeout: float | None = None) -> None: ...
    def put_nowait(self, item: _T) -> None: ...
    def get(self, block: bool = True, timeout: float | None = None) -> _T: ...

class Queue(_Bounded[_T], queues.JoinableQueue[_T]): ...
class LifoQueue(_Bounded[_T], queues.LifoQueue[_T]): ...

class PriorityQueue(_Bounded[_T], queues.PriorityQueue[_T]):
    def put(
        self,
        item: _T,
        block: bool = True,
        timeout: float | None = None,
        *,
        priority: object = None,
    ) -> None: ...

class SimpleQueue(queues.SimpleQueue[_T]):
    def put(self, item: _T, block: bool = True, timeout: float | None = None) -> None: ...
    def put_nowait(self, item: _T) -> None: ...
    def get_nowait(self) -> _T: ...
