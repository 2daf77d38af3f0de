"""Waiting in an event loop: a descriptor of the object, no thread.

What is waited for is taken by the coroutine itself, in the step in which it returns: one that is
cancelled has taken nothing.
"""

import collections
import os

from . import _kin

__all__ = ["GET", "LOCK", "PUT", "SEMAPHORE", "AsyncLock", "ready"]

LOCK, SEMAPHORE, GET, PUT = 1, 3, 5, 6


class _Bell:
    """Those who wait in one loop for one object to become ready."""

    def __init__(self, loop, thing, kind):
        self._loop, self._ready = loop, _kin.Ready(thing, kind)
        self._waiters = collections.deque()
        self._pid = os.getpid()

    def is_good(self):
        """Not that of a loop that was closed, nor of the process that forked this one."""
        return self._pid == os.getpid() and not self._loop.is_closed()

    async def wait(self):
        """Until the object may be ready."""
        waiter = self._loop.create_future()
        if not self._waiters:
            self._loop.add_reader(self._ready.fileno(), self._look)
        self._waiters.append(waiter)
        try:
            await waiter
        except BaseException:  # cancelled
            self._remove(waiter)
            raise

    def _look(self):
        """The descriptor is readable, and stays so while the object is ready: it wakes one.

        If that one is cancelled or takes nothing, the next is woken as the loop comes round.
        """
        try:
            is_ready = self._ready.check()
        except ValueError:  # the object is gone: each finds out by itself
            is_ready = True
        while is_ready and self._waiters:
            waiter = self._waiters[0]
            self._remove(waiter)
            if not waiter.done():
                waiter.set_result(None)
                break

    def _remove(self, waiter):
        if waiter in self._waiters:
            self._waiters.remove(waiter)
            if not self._waiters:
                self._loop.remove_reader(self._ready.fileno())


async def ready(thing, kind):
    """Until the object may be ready; then it is to be tried, and perhaps waited for again."""
    from asyncio import get_running_loop  # not for those who have no event loop

    loop = get_running_loop()
    bells = thing.__dict__.setdefault("_bells", {})
    bell = bells.get((loop, kind))
    if bell is None or not bell.is_good():
        for key, old in list(bells.items()):
            if not old.is_good():
                bells.pop(key, None)
        bell = bells[loop, kind] = _Bell(loop, thing, kind)
    await bell.wait()


class AsyncLock:
    """Beside a lock or semaphore: async with."""

    async def aacquire(self):
        """Acquire, without keeping the event loop from its work."""
        while not self.acquire(False):
            await ready(self, self._wait_kind)
        return True

    async def __aenter__(self):
        return await self.aacquire()

    async def __aexit__(self, *args):
        self.release()
