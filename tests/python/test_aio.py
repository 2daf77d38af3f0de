"""Event loops: await of queues and locks, without a thread, and without loss when it is cancelled."""

import asyncio
import os
import random
import threading
import time

import pytest

import kin


def run(coroutine):
    """In an event loop of its own; no thread and no descriptor stays."""
    threads = threading.active_count()
    result = asyncio.run(asyncio.wait_for(coroutine, 50))
    assert threading.active_count() == threads
    return result


def descriptors():
    """How many are open."""
    return len(os.listdir("/proc/self/fd"))


@pytest.fixture(params=["Queue", "JoinableQueue", "SimpleQueue", "LifoQueue", "PriorityQueue"])
def queue(request, only_kin):
    """A queue of each kind."""
    return getattr(only_kin, request.param)()


def test_get_waits_for_a_process(queue, only_kin):
    def produce():
        for n in range(5):
            time.sleep(0.01)
            queue.put(n)

    async def consume():
        ticks = 0

        async def tick():
            nonlocal ticks
            while True:
                ticks += 1
                await asyncio.sleep(0.001)

        ticking = asyncio.create_task(tick())
        child.start()
        got = [await queue.aget() for _ in range(5)]
        ticking.cancel()
        return got, ticks

    child = only_kin.Process(target=produce)
    got, ticks = run(consume())
    child.join()
    assert sorted(got) == list(range(5)) and ticks > 0


def test_put_waits_for_room(only_kin):
    queue = only_kin.Queue(2)

    async def produce():
        for n in range(20):
            await queue.aput(n)

    def consume():
        assert [queue.get(timeout=50) for _ in range(20)] == list(range(20))

    child = only_kin.Process(target=consume)
    child.start()
    run(produce())
    child.join()
    assert child.exitcode == 0


def test_put_by_priority(only_kin):
    queue = only_kin.PriorityQueue(2)

    async def both():
        await queue.aput("late", priority=9)
        await queue.aput((1, "soon"))
        waiting = asyncio.create_task(queue.aput("first", priority=-1))
        await asyncio.sleep(0.01)
        assert not waiting.done()
        assert await queue.aget() == (1, "soon")
        await waiting
        return [await queue.aget(), await queue.aget()]

    assert run(both()) == ["first", "late"]


def test_what_pickling_raises(only_kin):
    with pytest.raises(Exception, match="pickle|lambda"):
        run(only_kin.Queue().aput(lambda: 0))


def test_shut_down_and_closed(only_kin):
    queue = only_kin.Queue()

    async def wait():
        waiting = [asyncio.create_task(queue.aget()) for _ in range(3)]
        await asyncio.sleep(0.01)
        queue.shutdown()
        for each in waiting:
            with pytest.raises(kin.ShutDown):
                await each
        queue.close()
        with pytest.raises(ValueError):
            await queue.aget()

    run(wait())


def test_cancelled_takes_nothing(only_kin):
    """Consumers that are cancelled all the time; every item arrives once, in each order."""
    queue, count = only_kin.Queue(3), 2000
    seed = random.randrange(1 << 30)
    print("seed", seed)
    chance = random.Random(seed)

    def produce():
        for n in range(count):
            queue.put(n)

    async def one():
        got.append(await queue.aget())

    async def consume():
        while len(got) < count:
            tasks = [asyncio.create_task(one()) for _ in range(4)]
            for task in tasks:
                if chance.random() < 0.5:
                    await asyncio.sleep(0)
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            waiting = [asyncio.create_task(one()) for _ in range(2)]
            await asyncio.wait(waiting, timeout=0.001)
            for task in waiting:
                task.cancel()
            await asyncio.gather(*waiting, return_exceptions=True)

    got = []
    child = only_kin.Process(target=produce)
    child.start()
    before = descriptors()
    run(consume())
    child.join()
    assert got == list(range(count))
    del queue
    assert descriptors() <= before


def test_wait_for_loses_nothing(only_kin):
    queue = only_kin.Queue()

    async def wait():
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(queue.aget(), 0.01)
        queue.put("there")
        assert await asyncio.wait_for(queue.aget(), 50) == "there"

    run(wait())
    assert queue.empty()


def test_many_wait_and_one_is_cancelled(only_kin):
    """The item that came for one that was cancelled goes to the next."""
    queue = only_kin.Queue()

    async def wait():
        tasks = [asyncio.create_task(queue.aget()) for _ in range(3)]
        await asyncio.sleep(0.01)
        queue.put("item")
        tasks[0].cancel()
        done, _ = await asyncio.wait(tasks[1:], return_when=asyncio.FIRST_COMPLETED)
        assert [each.result() for each in done] == ["item"]
        for each in tasks:
            each.cancel()

    run(wait())


def test_lock(only_kin):
    lock, pipe = only_kin.Lock(), only_kin.Pipe()

    def hold():
        with lock:
            pipe[1].send("held")
            pipe[1].recv()

    async def wait():
        child.start()
        assert pipe[0].recv() == "held"
        waiting = asyncio.create_task(lock.aacquire())
        cancelled = asyncio.create_task(lock.aacquire())
        await asyncio.sleep(0.01)
        assert not waiting.done()
        cancelled.cancel()
        pipe[0].send("go")
        assert await waiting
        assert lock.locked()
        lock.release()
        async with lock:
            assert lock.locked()
        assert not lock.locked()

    child = only_kin.Process(target=hold)
    run(wait())
    child.join()


def test_lock_of_the_dead(only_kin):
    lock, held = only_kin.Lock(), only_kin.Event()

    def hold():
        lock.acquire()
        held.set()
        time.sleep(100)

    async def wait():
        async with lock:
            return lock.abandoned

    child = only_kin.Process(target=hold)
    child.start()
    assert held.wait(50)
    child.kill()
    assert run(wait()) == 1
    child.join()


def test_lock_excludes(only_kin):
    """Tasks of several processes add to one number, a step at a time."""
    lock, number = only_kin.Lock(), only_kin.RawValue("i", 0)

    async def add():
        for _ in range(50):
            async with lock:
                seen = number.value
                await asyncio.sleep(0)
                number.value = seen + 1

    async def several():
        await asyncio.gather(*(add() for _ in range(3)))

    def several_here():
        run(several())

    children = [only_kin.Process(target=several_here) for _ in range(2)]
    for child in children:
        child.start()
    run(several())
    for child in children:
        child.join()
        assert child.exitcode == 0
    assert number.value == 450


@pytest.mark.parametrize("kind", ["Semaphore", "BoundedSemaphore"])
def test_semaphore(only_kin, kind):
    semaphore, most, now = getattr(only_kin, kind)(2), 0, 0

    async def work():
        nonlocal most, now
        async with semaphore:
            now += 1
            most = max(most, now)
            await asyncio.sleep(0.001)
            now -= 1

    async def several():
        await asyncio.gather(*(work() for _ in range(6)))

    run(several())
    assert most == 2 and semaphore.get_value() == 2


def test_a_new_loop_each_time(only_kin):
    queue = only_kin.Queue()

    async def wait():
        task = asyncio.create_task(queue.aget())
        await asyncio.sleep(0.001)
        queue.put(1)
        return await task

    run(wait())
    before = descriptors()
    for _ in range(5):
        assert run(wait()) == 1
    assert descriptors() <= before


def test_several_loops_at_once(only_kin):
    queue, got = only_kin.Queue(), []

    async def wait():
        got.append(await queue.aget())

    threads = [threading.Thread(target=asyncio.run, args=(wait(),)) for _ in range(3)]
    for thread in threads:
        thread.start()
    queue.put_many([1, 2, 3])
    for thread in threads:
        thread.join(50)
    assert sorted(got) == [1, 2, 3]
