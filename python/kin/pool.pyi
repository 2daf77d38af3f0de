from multiprocessing.pool import ApplyResult as ApplyResult
from multiprocessing.pool import AsyncResult as AsyncResult
from multiprocessing.pool import IMapIterator as IMapIterator
from multiprocessing.pool import IMapUnorderedIterator as IMapUnorderedIterator
from multiprocessing.pool import MapResult as MapResult
from multiprocessing import pool as _standard
from multiprocessing.context import ProcessError
from multiprocessing.pool import ThreadPool as ThreadPool

__all__ = ["MaybeEncodingError", "Pool", "ThreadPool", "WorkerLostError"]

class MaybeEncodingError(Exception):
    exc: str
    value: str
    def __init__(self, exc: object, value: object) -> None: ...

class WorkerLostError(ProcessError): ...
class Pool(_standard.Pool): ...
