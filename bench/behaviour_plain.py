#!/usr/bin/env python3
"""The behaviour analysis in plain Python: csv, dict, set. Prints the JSON of `behaviour --json`.

    behaviour_plain.py [--exact] FILE...

It is what the C job is measured against and, written from the description and not from the C code,
what its answers are tested against. The csv module takes a lone carriage return for the end of a
record; --exact splits the lines itself, for logs that have such things in them.
"""

import csv
import json
import sys
import time

BEHAVIOURS = ("pv", "cart", "fav", "buy")
LIMIT = 1 << 64


def pss_bytes():
    with open("/proc/self/smaps_rollup") as rollup:
        for line in rollup:
            if line.startswith("Pss:"):
                return int(line.split()[1]) * 1024
    return 0


def rows_by_csv(file):
    return csv.reader(file, quoting=csv.QUOTE_NONE)


def rows_exactly(file):
    for line in file:
        if line.endswith("\n"):
            line = line[:-1]
        if line.endswith("\r"):
            line = line[:-1]
        yield line.split(",")


class Analysis:
    def __init__(self):
        self.lines = 0
        self.malformed = 0
        self.events = dict.fromkeys(BEHAVIOURS, 0)
        self.users = set()
        self.items = set()
        self.viewed = set()
        self.wanted = set()
        self.bought = set()
        self.item_buys = {}
        self.category_views = {}
        self.hours = [0] * 24
        self.peak = 0

    def add(self, rows):
        events, hours = self.events, self.hours
        users, items = self.users, self.items
        viewed, wanted, bought = self.viewed, self.wanted, self.bought
        item_buys, category_views = self.item_buys, self.category_views
        lines = malformed = 0
        for row in rows:
            lines += 1
            if not lines & 0xFFFFF:
                self.peak = max(self.peak, pss_bytes())
            if len(row) != 5:
                malformed += 1
                continue
            user, item, category, behaviour, second = row
            if not (
                behaviour in events
                and user.isdecimal()
                and item.isdecimal()
                and category.isdecimal()
                and second.isdecimal()
            ):
                malformed += 1
                continue
            user, item, category, second = int(user), int(item), int(category), int(second)
            if user >= LIMIT or item >= LIMIT or category >= LIMIT or second >= LIMIT:
                malformed += 1
                continue
            events[behaviour] += 1
            users.add(user)
            items.add(item)
            if behaviour == "pv":
                viewed.add(user)
                category_views[category] = category_views.get(category, 0) + 1
                hours[(second // 3600 + 8) % 24] += 1
                continue
            category_views.setdefault(category, 0)
            if behaviour == "buy":
                bought.add(user)
                item_buys[item] = item_buys.get(item, 0) + 1
            else:
                wanted.add(user)
        self.lines += lines
        self.malformed += malformed

    def report(self):
        def top_ten(counts):
            best = sorted(((-count, key) for key, count in counts.items() if count))[:10]
            return [[key, -count] for count, key in best]

        return {
            "lines": self.lines,
            "malformed": self.malformed,
            "users": len(self.users),
            "items": len(self.items),
            "categories": len(self.category_views),
            "events": self.events,
            "top_items": top_ten(self.item_buys),
            "top_categories": top_ten(self.category_views),
            "pv_by_hour": self.hours,
            "funnel": {
                "viewed": len(self.viewed),
                "wanted": len(self.viewed & self.wanted),
                "bought": len(self.bought),
            },
        }


def main(arguments):
    exact = "--exact" in arguments
    paths = [argument for argument in arguments if argument != "--exact"]
    csv.field_size_limit(sys.maxsize)
    if hasattr(sys, "set_int_max_str_digits"):
        sys.set_int_max_str_digits(0)

    begin = time.monotonic()
    analysis = Analysis()
    for path in paths:
        # latin-1: any byte is a character, and only 0 to 9 are decimal digits in it.
        with open(path, encoding="latin-1", newline="\n") as file:
            analysis.add(rows_exactly(file) if exact else rows_by_csv(file))
    analysis.peak = max(analysis.peak, pss_bytes())
    report = analysis.report()
    report["workers"] = 1
    report["chunks"] = len(paths)
    report["seconds"] = round(time.monotonic() - begin, 6)
    report["peak_memory_bytes"] = analysis.peak
    print(json.dumps(report))


if __name__ == "__main__":
    main(sys.argv[1:])
