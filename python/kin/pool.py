"""Pool: the standard library's, on kin's queues; the task of a worker that dies fails, and says so.

Each worker notes in shared memory which task it has in hand, and has it only taken, not got, until
it is done. So the pool can answer for it when the worker is gone, or else the next worker, which
gets the task again; nobody waits for a result that does not come.
"""

import functools
import signal
import time
import weakref
from multiprocessing import pool as _standard
from multiprocessing.context import ProcessError
from multiprocessing.pool import (
    ApplyResult,
    AsyncResult,
    IMapIterator,
    IMapUnorderedIterator,
    MapResult,
    MaybeEncodingError,
    ThreadPool,
)

from . import _kin
from .queues import SimpleQueue

__all__ = ["MaybeEncodingError", "Pool", "ThreadPool", "WorkerLostError"]


class WorkerLostError(ProcessError):
    """The worker process died while it ran the task."""


_END = -1  # in the place of a job


class _TaskQueue(SimpleQueue):
    """Tasks stay taken until they are done: that of a worker that dies comes again, and says so."""

    def put(self, task):
        """Pickle and put a task; None ends a worker."""
        job, index = (_END, 0) if task is None else task[:2]
        self._put_task(task, job, index)


class _Packed:
    """What is said of results that may turn out not to be loadable: the pool loads them itself."""

    bad, good = 2, 3


_PLAIN = frozenset((type(None), bool, int, float, complex, str, bytes, bytearray))


def _is_loadable(value):
    """Whether it can be loaded in any case: numpy's arrays too, unless objects are in them."""
    kind = type(value)
    return kind in _PLAIN or (
        kind.__module__ == "numpy" and not getattr(getattr(value, "dtype", None), "hasobject", True)
    )


def _load(good, value):
    """Whether the task succeeded, and its result or exception."""
    if good not in (_Packed.bad, _Packed.good):
        return good, value
    packed, text = value
    try:
        return good == _Packed.good, _kin.unpack(packed)
    except Exception as error:
        return False, MaybeEncodingError(error, text or "a result that cannot be unpickled")


class _Tasks:
    """Where a worker gets its tasks."""

    def __init__(self, queue, results, note):
        self._queue, self._results, self._note = queue, results, note

    def get(self):
        """The next task, noted; those of the dead are answered for, not run again."""
        while True:
            died, job, index = self._queue._take_task()
            if job == _END:
                self._queue._task_is_done()
                return None
            self._note[1] = index
            self._note[0] = job + 1
            if died:
                text = f"worker process {died} died while it ran the task"
                self._results.put((job, index, (False, WorkerLostError(text, died))))
                continue
            try:
                return self._queue._load_task()
            except Exception as error:
                self._fail(job, index, error)

    def _fail(self, job, index, error):
        """A task that cannot be loaded is one that raised."""
        try:
            traced = _standard.ExceptionWithTraceback(error, error.__traceback__)
            self._results.put((job, index, (False, traced)))
        except Exception as reason:
            self._results.put((job, index, (False, MaybeEncodingError(reason, error))))


class _Results:
    """Where a worker puts what came of them."""

    def __init__(self, queue, tasks, note):
        self._queue, self._tasks, self._note = queue, tasks, note

    def put(self, result):
        """The task is done with."""
        job, index, (good, value) = result
        if not good or not _is_loadable(value):
            text = "" if good else repr(getattr(value, "exc", value))
            good, value = _Packed.good if good else _Packed.bad, (_kin.pack(value), text)
        self._queue.put((job, index, (good, value)))
        self._note[0] = 0
        self._tasks._task_is_done()


class _Once:
    """Where the pool gets results: who died between result and note is answered for needlessly."""

    def __init__(self, queue, pool):
        self._queue, self._seen, self._pool = queue, {}, weakref.ref(pool)

    def get(self):
        """The next result. A needless one is nobody's: to wait for another could be for ever."""
        result = self._queue.get()
        if result is None:
            return None
        job, index, outcome = result
        good, value = _load(*outcome)
        is_loss = not good and isinstance(value, WorkerLostError)
        if is_loss and (job, index) in self._seen:
            return _END, index, (good, value)
        self._seen[job, index] = None
        if len(self._seen) > 4096:
            del self._seen[next(iter(self._seen))]
        return job, index, (good, self._with_reason(value) if is_loss else value)

    def _with_reason(self, error):
        """A colleague knows that a worker died; how it ended is known here."""
        text, *pid = error.args
        pool = self._pool()
        for worker in list(pool._pool) if pool is not None and pid else ():
            # It may have left the arena and be about to end.
            if worker.pid == pid[0] and worker._popen.wait(1.0) is not None:
                return _lost(worker)
        return WorkerLostError(self._queue.ended.get(pid[0], text) if pid else text)


class _ResultQueue(SimpleQueue):
    """Results, and beside them, in the pool's process, what is said of the last who ended."""

    def __init__(self, *, ctx):
        super().__init__(ctx=ctx)
        self.ended, self.notifier = {}, None


def _describe(worker):
    code = worker.exitcode
    if code >= 0:
        return f"ended with exit code {code}"
    try:
        return f"was killed by {signal.Signals(-code).name}"
    except ValueError:
        return f"was killed by signal {-code}"


def _lost(worker):
    return WorkerLostError(
        f"worker process {worker.pid} {_describe(worker)} while it ran the task"
    )


def _new_process(plain):
    return plain.__new__(plain)


class _Worker:
    """Beside the process class of a context: whoever joins it answers for what it had in hand.

    One that cannot be started (too few processes, descriptors, memory) counts as ended: the thread
    that looks after the workers lives on and starts another one, until it can.
    """

    _failure = None

    def _watch(self, note, outqueue):
        self._watched = note, outqueue

    def start(self):
        """Start it, or note why not."""
        try:
            super().start()
        except (OSError, MemoryError) as error:
            self._failure = error
            self._watched[1].notifier.put(None)

    @property
    def exitcode(self):
        """The exit code, or None."""
        return super().exitcode if self._failure is None else 1

    @property
    def sentinel(self):
        """What is readable when it has ended; there is none of one that was not started."""
        if self._failure is not None:
            raise AttributeError("the worker was not started")
        return super().sentinel

    def join(self, timeout=None):
        """Wait until it has ended."""
        if self._failure is not None:
            time.sleep(0.05)  # before the next one is tried
            return
        super().join(timeout)
        if self.exitcode is None or self._watched is None:
            return
        (note, outqueue), self._watched = self._watched, None
        outqueue.ended[self.pid] = str(_lost(self))
        if len(outqueue.ended) > 64:
            del outqueue.ended[next(iter(outqueue.ended))]
        job, index = note[0], note[1]
        if job != 0:
            outqueue.put((job - 1, index, (False, _lost(self))))

    def __reduce__(self):
        state = {name: value for name, value in vars(self).items() if name != "_watched"}
        return _new_process, (type(self)._plain,), state


@functools.cache
def _worker_class(plain):
    return type(plain.__name__, (_Worker, plain), {"_plain": plain})


class Pool(_standard.Pool):
    """A pool of worker processes."""

    @functools.wraps(_standard.Pool.__init__)
    def __init__(self, *args, **kwargs):
        try:
            super().__init__(*args, **kwargs)
        except BaseException:
            self._undo()
            raise

    def _undo(self):
        """Nothing is left of a pool that could not be made: no thread, no worker."""
        names = "_worker_handler", "_task_handler", "_result_handler"
        threads = [vars(self)[name] for name in names if name in vars(self)]
        for thread in threads:
            thread._state = _standard.TERMINATE
        for queue in ("_change_notifier", "_taskqueue", "_outqueue"):
            if queue in vars(self):
                vars(self)[queue].put(None)
        for thread in threads:
            if thread.is_alive():
                thread.join()
        for worker in self._pool:
            if worker.exitcode is None:
                worker.kill()
        for worker in self._pool:
            worker.join()

    def _repopulate_pool(self):
        self._outqueue.notifier = self._change_notifier
        super()._repopulate_pool()
        for worker in self._pool:
            if worker._failure is not None:
                raise worker._failure

    def _setup_queues(self):
        self._inqueue, self._outqueue = _TaskQueue(ctx=self._ctx), _ResultQueue(ctx=self._ctx)
        self._quick_put, self._quick_get = self._inqueue.put, _Once(self._outqueue, self).get

    def _map_async(self, func, iterable, mapper, chunksize=None, *callbacks, **named_callbacks):
        """The number of workers that there ought to be counts: all may be dead just now."""
        if chunksize is None:
            if not hasattr(iterable, "__len__"):
                iterable = list(iterable)
            chunksize = -(-len(iterable) // (self._processes * 4))
        return super()._map_async(
            func, iterable, mapper, chunksize, *callbacks, **named_callbacks
        )

    @staticmethod
    def Process(ctx, *args, **kwds):
        """A worker, whose queues note what it takes and what it is done with."""
        inqueue, outqueue, *more = kwds.pop("args")
        note = ctx.RawArray("q", 2)
        results = _Results(outqueue, inqueue, note)
        ends = _Tasks(inqueue, results, note), results
        worker = _worker_class(ctx.Process)(*args, args=(*ends, *more), **kwds)
        worker._watch(note, outqueue)
        return worker

    @staticmethod
    def _help_stuff_finish(inqueue, task_handler, size):
        """Nothing: a put to kin's queue does not block, and no lock can be left held."""
