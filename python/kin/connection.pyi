from collections.abc import Iterable
from multiprocessing.connection import Client as Client
from multiprocessing.connection import Listener as Listener
from multiprocessing.connection import answer_challenge as answer_challenge
from multiprocessing.connection import deliver_challenge as deliver_challenge
from typing import Any

from typing_extensions import Self

from . import _kin

__all__ = ["Client", "Listener", "Pipe", "wait"]

class Connection(_kin.Pipe):
    readable: bool
    writable: bool
    def recv_bytes(self, maxlength: int | None = None) -> bytes: ...
    def recv_bytes_into(self, buf: Any, offset: int = 0) -> int: ...
    def __enter__(self) -> Self: ...
    def __exit__(self, exc_type: object, exc_value: object, exc_tb: object) -> None: ...

def Pipe(duplex: bool = True) -> tuple[Connection, Connection]: ...
def wait(object_list: Iterable[Any], timeout: float | None = None) -> list[Any]: ...
