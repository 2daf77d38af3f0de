#!/usr/bin/env python3
"""sync.py [--pin] MODE OBJECT COUNT: what Python's multiprocessing takes for the same.

    pair        acquire and release; "Event": set and clear; "is_set": an Event's is_set
    ping        round trips between two processes that answer at once
    ping-on-one the same, both on one processor
    ping-asleep each answers after 60 us, which do not count: both sleep while they wait

Prints the seconds of one operation and, for ping-asleep, their 99th percentile, else 0.
"""
import argparse
import itertools
import multiprocessing
import os
import time

ASLEEP_NS = 60_000
ASLEEP_COUNT_LEAST = 1000
mp = multiprocessing.get_context("fork")


def pin(index):
    cpus = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(0, {cpus[index % len(cpus)]})


def pair(name, count):
    event = name in ("Event", "is_set")
    thing = mp.Event() if event else getattr(mp, name)()
    before, after = (thing.set, thing.clear) if event else (thing.acquire, thing.release)
    start = time.perf_counter_ns()
    if name == "is_set":
        for _ in itertools.repeat(None, count):
            thing.is_set()
    else:
        for _ in itertools.repeat(None, count):
            before()
            after()
    return (time.perf_counter_ns() - start) / count, 0


class Channel:
    """One message at a time, and beside it the two numbers that it carries."""

    def __init__(self, name):
        self.letter = mp.RawArray("q", 2)
        self.full = mp.RawValue("i", 0)
        self.put, self.get = getattr(self, f"put_{name}"), getattr(self, f"get_{name}")
        self.thing = mp.Semaphore(0) if name == "Semaphore" else getattr(mp, name)()

    def put_Event(self, *letter):
        self.letter[:] = letter
        self.thing.set()

    def get_Event(self):
        self.thing.wait()
        self.thing.clear()
        return self.letter[:]

    def put_Semaphore(self, *letter):
        self.letter[:] = letter
        self.thing.release()

    def get_Semaphore(self):
        self.thing.acquire()
        return self.letter[:]

    def put_Condition(self, *letter):
        with self.thing:
            self.letter[:] = letter
            self.full.value = 1
            self.thing.notify()

    def get_Condition(self):
        with self.thing:
            while not self.full.value:
                self.thing.wait()
            self.full.value = 0
            return self.letter[:]


def busy():
    until = time.perf_counter_ns() + ASLEEP_NS
    while time.perf_counter_ns() < until:
        pass


def echo(there, back, place, count, asleep):
    if place is not None:
        pin(place)
    for _ in range(count):
        sent, _ = there.get()
        under_way = time.perf_counter_ns() - sent if asleep else 0
        if asleep:
            busy()
        back.put(time.perf_counter_ns() if asleep else 0, under_way)


def ping(name, count, places, asleep):
    there, back, samples = Channel(name), Channel(name), []
    count = max(count, ASLEEP_COUNT_LEAST) if asleep else count
    warm = count // 10 + 1
    other = mp.Process(target=echo, args=(there, back, places[1], warm + count, asleep))
    other.start()
    if places[0] is not None:
        pin(places[0])
    for i in range(warm + count):
        if i == warm:
            start = time.perf_counter_ns()
        if asleep:
            busy()
            there.put(time.perf_counter_ns(), 0)
            sent, before = back.get()
            samples.append(before + time.perf_counter_ns() - sent)
        else:
            there.put(0, 0)
            back.get()
    took = (time.perf_counter_ns() - start) / count
    other.join()
    if not asleep:
        return took, 0
    samples = sorted(samples[warm:])
    return samples[count // 2], samples[count * 99 // 100]


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--pin", action="store_true")
    parser.add_argument("mode", choices=["pair", "ping", "ping-on-one", "ping-asleep"])
    parser.add_argument("object")
    parser.add_argument("count", type=int)
    args = parser.parse_args()
    if args.mode == "pair":
        if args.pin:
            pin(1)
        median, p99 = pair(args.object, args.count)
    else:
        together = args.mode == "ping-on-one"
        places = (0, 0) if together else (0, 1) if args.pin else (None, None)
        median, p99 = ping(args.object, args.count, places, args.mode == "ping-asleep")
    print(median * 1e-9, p99 * 1e-9)


if __name__ == "__main__":
    main()
