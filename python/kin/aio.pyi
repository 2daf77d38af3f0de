from typing import Literal

__all__ = ["GET", "LOCK", "PUT", "SEMAPHORE", "AsyncLock", "ready"]

LOCK: int
SEMAPHORE: int
GET: int
PUT: int

class AsyncLock:
    async def aacquire(self) -> Literal[True]: ...
    async def __aenter__(self) -> Literal[True]: ...
    async def __aexit__(self, *args: object) -> None: ...

async def ready(thing: object, kind: int) -> None: ...
