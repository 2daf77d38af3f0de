from multiprocessing import pool as _standard
from multiprocessing.context import ProcessError
from multiprocessing.pool import MaybeEncodingError as MaybeEncodingError
from multiprocessing.pool import ThreadPool as ThreadPool

__all__ = ["MaybeEncodingError", "Pool", "ThreadPool", "WorkerLostError"]

class WorkerLostError(ProcessError): ...
class Pool(_standard.Pool): ...
