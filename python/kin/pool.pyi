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
