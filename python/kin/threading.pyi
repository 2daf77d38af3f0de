import sys
from collections.abc import Callable
from threading import TIMEOUT_MAX as TIMEOUT_MAX
from threading import BrokenBarrierError as BrokenBarrierError
from threading import ExceptHookArgs as ExceptHookArgs
from threading import Thread as Thread
from threading import ThreadError as ThreadError
from threading import Timer as Timer
from threading import active_count as active_count
from threading import current_thread as current_thread
from threading import enumerate as enumerate
from threading import excepthook as excepthook
from threading import get_ident as get_ident
from threading import get_native_id as get_native_id
from threading import getprofile as getprofile
from threading import gettrace as gettrace
from threading import local as local
from threading import main_thread as main_thread
from threading import setprofile as setprofile
from threading import settrace as settrace
from threading import stack_size as stack_size

from . import synchronize

if sys.version_info >= (3, 12):
    from threading import setprofile_all_threads as setprofile_all_threads
    from threading import settrace_all_threads as settrace_all_threads

__all__ = [
    "Barrier",
    "BoundedSemaphore",
    "BrokenBarrierError",
    "Condition",
    "Event",
    "ExceptHookArgs",
    "Lock",
    "RLock",
    "Semaphore",
    "TIMEOUT_MAX",
    "Thread",
    "ThreadError",
    "Timer",
    "active_count",
    "current_thread",
    "enumerate",
    "excepthook",
    "get_ident",
    "get_native_id",
    "getprofile",
    "gettrace",
    "local",
    "main_thread",
    "setprofile",
    "settrace",
    "stack_size",
]
if sys.version_info >= (3, 12):
    __all__ += ["setprofile_all_threads", "settrace_all_threads"]

class Lock(synchronize.Lock):
    def acquire(self, blocking: bool = True, timeout: float = -1) -> bool: ...  # type: ignore[override]

class RLock(synchronize.RLock):
    def acquire(self, blocking: bool = True, timeout: float = -1) -> bool: ...  # type: ignore[override]

class Condition(synchronize.Condition):
    def __init__(
        self,
        lock: synchronize.Lock | synchronize.RLock | None = None,
        *,
        name: str | None = None,
        ctx: object = None,
        arena: int = 0,
    ) -> None: ...
    acquire: Callable[..., bool]
    def notifyAll(self) -> None: ...

class Semaphore(synchronize.Semaphore):
    def acquire(self, blocking: bool = True, timeout: float | None = None) -> bool: ...
    def release(self, n: int = 1) -> None: ...

class BoundedSemaphore(synchronize.BoundedSemaphore):
    def acquire(self, blocking: bool = True, timeout: float | None = None) -> bool: ...
    def release(self, n: int = 1) -> None: ...

class Event(synchronize.Event):
    def isSet(self) -> bool: ...

class Barrier(synchronize.Barrier): ...
