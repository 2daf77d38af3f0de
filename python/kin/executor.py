"""ProcessPoolExecutor: the standard library's, with its queue of calls on kin's.

An executor makes that queue of a class of its own module, whatever its context says. Here the
class is chosen by the context.
"""

import copyreg
import multiprocessing.queues
import sys
from multiprocessing import util
from multiprocessing.reduction import ForkingPickler

from ._kin import ShutDown
from .queues import Queue, _End

_MODULE = "concurrent.futures.process"


class _WorkerQueue(Queue):
    """The calls, as a worker gets them."""

    def get(self, block=True, timeout=None):
        """The next call; None, which ends the worker, when nobody can put one any more."""
        try:
            return super().get(block, timeout)
        except ShutDown:
            return None


class _CallQueue(_WorkerQueue):
    """The calls on their way to the workers.

    With it goes the executor, or the interpreter ends: workers are left only if the executor could
    not start its thread, and then nobody else tells them.
    """

    def __init__(self, standard, max_size, ctx, pending_work_items, shutdown_lock, thread_wakeup):
        super().__init__(max_size, ctx=ctx)
        self._standard = standard
        self.pending_work_items = pending_work_items
        self.shutdown_lock = shutdown_lock
        self.thread_wakeup = thread_wakeup
        self._reader = self._writer = _End(self)
        receive, arguments, _ = self.__reduce__()
        util.Finalize(self, receive(*arguments).shutdown, exitpriority=10)

    def put(self, item, block=True, timeout=None):
        """Pickle and put a call; what pickling raises is the result of its future."""
        try:
            super().put(item, block, timeout)
        except Exception as error:
            if not hasattr(item, "work_id"):
                raise
            self._standard._on_queue_feeder_error(self, error, item)

    def __reduce__(self):
        """A worker only gets."""
        receive, arguments, state = super().__reduce__()
        return receive, tuple(_WorkerQueue if a is _CallQueue else a for a in arguments), state

    def _terminate_broken(self):
        self.close()


def _chooser(standard, is_ours):
    def call_queue(max_size=0, *, ctx, pending_work_items, thread_wakeup, shutdown_lock=None):
        if is_ours(ctx):
            return _CallQueue(
                standard, max_size, ctx, pending_work_items, shutdown_lock, thread_wakeup
            )
        more = {} if shutdown_lock is None else {"shutdown_lock": shutdown_lock}
        return standard(
            max_size, ctx=ctx, pending_work_items=pending_work_items,
            thread_wakeup=thread_wakeup, **more,
        )

    call_queue.of_kin = True
    # Its own class is not found under its name any more, and a worker needs no more than a queue.
    ForkingPickler.register(standard, _reduce_to_plain)
    return call_queue


def _reduce_to_plain(queue):
    plain = multiprocessing.queues.Queue
    return copyreg._reconstructor, (plain, object, None), queue.__getstate__()


def adopt(is_ours):
    """Let executors whose context is_ours use kin's queue; nothing before they are imported."""
    module = sys.modules.get(_MODULE)
    standard = getattr(module, "_SafeQueue", None)
    if standard is not None and not hasattr(standard, "of_kin"):
        module._SafeQueue = _chooser(standard, is_ours)
