"""The behaviour job: what shoppers did, counted by several processes. Prints a report as JSON.

    behaviour.py [--workers N] FILE...

Each line of a log is user,item,category,behaviour,second. The files are cut into chunks at ends of
lines; the workers get them from one queue and put what they counted into another.
"""

import argparse
import json
import os
from collections import Counter
from multiprocessing import Process, Queue

CHUNK = 1 << 20
BEHAVIOURS = ("pv", "cart", "fav", "buy")


class Tally:
    """What was counted in some lines; two of them can be added up."""

    def __init__(self):
        self.counts = Counter()  # lines, malformed, and each behaviour
        self.items, self.wanted, self.viewed, self.bought = set(), set(), set(), set()
        self.users = set()
        self.buys, self.views = Counter(), Counter()
        self.hours = [0] * 24

    def count(self, line):
        """One line."""
        self.counts["lines"] += 1
        fields = line.split(",")
        if len(fields) != 5 or fields[3] not in BEHAVIOURS or not all(
            field.isdecimal() for field in fields[:3] + fields[4:]
        ):
            self.counts["malformed"] += 1
            return
        user, item, category, second = (int(fields[i]) for i in (0, 1, 2, 4))
        behaviour = fields[3]
        self.counts[behaviour] += 1
        self.users.add(user)
        self.items.add(item)
        self.views[category] += behaviour == "pv"
        if behaviour == "pv":
            self.viewed.add(user)
            self.hours[(second // 3600 + 8) % 24] += 1
        elif behaviour == "buy":
            self.bought.add(user)
            self.buys[item] += 1
        else:
            self.wanted.add(user)

    def add(self, other):
        """What somebody else counted."""
        self.counts.update(other.counts)
        for name in ("users", "items", "viewed", "wanted", "bought"):
            getattr(self, name).update(getattr(other, name))
        self.buys.update(other.buys)
        self.views.update(other.views)
        self.hours = [mine + theirs for mine, theirs in zip(self.hours, other.hours)]

    def report(self):
        """As it is printed."""
        return {
            "lines": self.counts["lines"],
            "malformed": self.counts["malformed"],
            "users": len(self.users),
            "items": len(self.items),
            "categories": len(self.views),
            "events": {behaviour: self.counts[behaviour] for behaviour in BEHAVIOURS},
            "top_items": top_ten(self.buys),
            "top_categories": top_ten(self.views),
            "pv_by_hour": self.hours,
            "funnel": {
                "viewed": len(self.viewed),
                "wanted": len(self.viewed & self.wanted),
                "bought": len(self.bought),
            },
        }


def top_ten(counts):
    """The most frequent ones; among equals the smaller number comes first."""
    best = sorted((-count, key) for key, count in counts.items() if count)[:10]
    return [[key, -count] for count, key in best]


def cut(path):
    """(path, first byte, end) of chunks that end where a line ends."""
    with open(path, "rb") as file:
        first, size = 0, os.path.getsize(path)
        while first < size:
            file.seek(min(first + CHUNK, size))
            file.readline()
            yield path, first, file.tell()
            first = file.tell()


def work(chunks, tallies):
    """Count chunks until there are no more."""
    while (chunk := chunks.get()) is not None:
        path, first, end = chunk
        tally = Tally()
        with open(path, "rb") as file:
            file.seek(first)
            while file.tell() < end:
                tally.count(file.readline().decode("latin-1").rstrip("\r\n"))
        tallies.put(tally)


def main():
    """Read the arguments, start the workers, add up."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("files", nargs="+", metavar="FILE")
    arguments = parser.parse_args()
    todo = [chunk for path in arguments.files for chunk in cut(path)]
    chunks, tallies = Queue(), Queue()
    workers = [Process(target=work, args=(chunks, tallies)) for _ in range(arguments.workers)]
    for worker in workers:
        worker.start()
    for chunk in todo + [None] * arguments.workers:
        chunks.put(chunk)
    total = Tally()
    for _ in todo:
        total.add(tallies.get())
    for worker in workers:
        worker.join()
    print(json.dumps(total.report()))


if __name__ == "__main__":
    main()
