#!/usr/bin/env python3
"""priority.py KIND COUNT: put COUNT items by priority, then get them all; prints the seconds.

KIND: heapq, PriorityQueue (of queue).
"""
import heapq
import queue
import sys
import time


def priority_of(number, count):
    z = (number + 1) * 0x9E3779B97F4A7C15 % 2**64
    return (z ^ z >> 31) % count


def main():
    kind, count = sys.argv[1], int(sys.argv[2])
    items = [(priority_of(i, count), i) for i in range(count)]
    heap, line = [], queue.PriorityQueue()
    start = time.perf_counter()
    if kind == "heapq":
        for item in items:
            heapq.heappush(heap, item)
        for _ in items:
            heapq.heappop(heap)
    else:
        for item in items:
            line.put(item)
        for _ in items:
            line.get()
    print(time.perf_counter() - start)


if __name__ == "__main__":
    main()
