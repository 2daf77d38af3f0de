#!/usr/bin/env python3
"""Test the dining philosophers: in every dress, and with some of them killed at any moment.

    philosophers.py --build DIR [--seed N] [--meals N] [--only TEST]

DIR holds examples/philosophers.
"""

import argparse
import json
import os
import pathlib
import random
import re
import signal
import subprocess
import sys
import time

from programs import check, children, leftovers, reap_orphans, run_all, without_leak_check

ROOT = pathlib.Path(__file__).resolve().parents[2]
DRESSES = ("naive", "ordered", "waiter")
KEYS = "dress meals killed deadlocks freed abandoned violations held seats seed seconds".split()
TIMEOUT = 30

options = None
chance = None


# --- running them ---------------------------------------------------------------------------------


def start(*arguments):
    return subprocess.Popen(
        [str(options.build / "examples" / "philosophers"), *map(str, arguments)],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env=without_leak_check())


def end(dinner):
    """The exit status and what was said. One that does not end is the end of the test, too."""
    try:
        out, err = dinner.communicate(timeout=TIMEOUT)
    except subprocess.TimeoutExpired:
        dinner.kill()
        sys.exit(f"FAILED: {dinner.args} hangs")
    return dinner.returncode, out, err


def run(*arguments):
    return end(start(*arguments))


def judge(name, ended, dress, places, before):
    """Check what is true of every dinner, and return its report."""
    status, out, err = ended
    try:
        report = json.loads(out)
    except ValueError:
        report = dict.fromkeys(KEYS, -1)
    check(f"{name}: exit status", status == 0, ended)
    check(f"{name}: keys", list(report) == KEYS, ended)
    check(f"{name}: dress", report["dress"] == dress, ended)
    check(f"{name}: all meals are eaten", report["meals"] == [options.meals] * places, ended)
    check(f"{name}: no fork was in two hands", report["violations"] == 0, ended)
    check(f"{name}: all forks and seats are back",
          report["held"] == 0 and report["seats"] == places - 1, ended)
    # Who has found a fork abandoned may be killed before he has counted it.
    check(f"{name}: abandoned forks", 0 <= report["abandoned"] <= report["freed"], ended)
    check(f"{name}: each dead one had two forks at most",
          report["freed"] <= 2 * report["killed"], ended)
    if dress != "naive":
        check(f"{name}: no deadlock", report["deadlocks"] == 0, ended)
    check(f"{name}: nothing is said", err == "", ended)
    check(f"{name}: nothing is left", leftovers() == before, leftovers())
    return report


def dinner_arguments(dress, places):
    return ("--json", "--dress", dress, "--philosophers", places, "--meals", options.meals,
            "--seed", chance.randrange(1 << 32))


# --- dinners --------------------------------------------------------------------------------------


def test_peace():
    """Nobody is killed but to resolve a deadlock."""
    for dress in DRESSES:
        for places in (2, 5, 16):
            arguments = dinner_arguments(dress, places)
            before = leftovers()
            ended = run(*arguments)
            name = f"peace {arguments}"
            report = judge(name, ended, dress, places, before)
            if dress == "naive":
                check(f"{name}: deadlocks", report["deadlocks"] >= 1, ended)
                check(f"{name}: each cost one philosopher, and left one fork to be found",
                      report["deadlocks"] == report["killed"] == report["freed"]
                      == report["abandoned"], ended)
            else:
                check(f"{name}: nobody died", report["killed"] == report["freed"] == 0, ended)


def test_killed_by_parent():
    killed = 0
    for dress in DRESSES:
        for places, period_ms in ((2, 3), (5, 2), (5, 20), (9, 1)):
            arguments = (*dinner_arguments(dress, places), "--kill-every", period_ms)
            before = leftovers()
            killed += judge(
                f"killed by the parent {arguments}", run(*arguments), dress, places, before)["killed"]
    check("some were killed by the parent", killed > 0)
    print(f"{killed} killed by the parent")


def test_killed_from_outside():
    """By somebody who does not care where they are: at birth, at the end, in the middle of a call."""
    killed = 0
    for dress in DRESSES:
        for places in (3, 6):
            arguments = dinner_arguments(dress, places)
            before = leftovers()
            dinner = start(*arguments)
            give_up = time.monotonic() + TIMEOUT
            while dinner.poll() is None and time.monotonic() < give_up:
                time.sleep(chance.expovariate(1 / 0.004))
                victims = children(dinner.pid)
                if victims:
                    try:
                        os.kill(chance.choice(victims), signal.SIGKILL)
                    except ProcessLookupError:
                        pass
            killed += judge(f"killed from outside {arguments}", end(dinner), dress, places,
                            before)["killed"]
    check("some were killed from outside", killed > 0)
    print(f"{killed} killed from outside")


def test_killed_parent():
    """The philosophers go with the process that started them."""
    for dress in DRESSES:
        before = leftovers()
        dinner = start("--quiet", "--dress", dress, "--meals", 1000000)
        while dinner.poll() is None and len(children(dinner.pid)) < 5:
            time.sleep(0.001)
        time.sleep(chance.uniform(0, 0.03))
        dinner.kill()
        end(dinner)
        give_up = time.monotonic() + 10
        while leftovers() != before and time.monotonic() < give_up:
            reap_orphans()
            time.sleep(0.01)
        check(f"{dress}: all go with their parent", leftovers() == before, leftovers())


# --- what they say --------------------------------------------------------------------------------


def test_words():
    """The first deadlock is one of all, with each fork where it must be."""
    status, out, err = run("--philosophers", 4, "--meals", 3)
    check("words: exit status", status == 0 and err == "", (out, err))
    circle = re.search(r"nobody goes on:\n((?:    .*\n)+)", out)
    found = re.findall(r"    (\w+) has waited for (fork \d) for (\d+\.\d) ms; (\w+) has it\n",
                       circle.group(1) if circle else "")
    people = ("Socrates", "Plato", "Aristotle", "Diogenes")
    expected = {(people[i], f"fork {(i + 1) % 4 + 1}", people[(i + 1) % 4]) for i in range(4)}
    check("words: the circle", {(who, fork, holder) for who, fork, _, holder in found} == expected
          and len(found) == 4, out)
    check("words: since when", all(0 < float(ms) < 1000 * TIMEOUT for _, _, ms, _ in found), out)
    for pattern in (r"^\w+ was killed$", r"^\w+ finds fork \d abandoned$",
                    r"^naive, meals eaten: 3, 3, 3, 3$", r"^forks in two hands at once +0$"):
        check(f"words: {pattern}", re.search(pattern, out, re.MULTILINE), out)
    out = run("--quiet", "--philosophers", 4, "--meals", 3)[1]
    check("quiet", out.startswith("naive, meals eaten: 3, 3, 3, 3\n"), out)


def test_errors():
    for arguments, named in (
        (("--dress", "elegant"), "elegant"),
        (("--philosophers", 1), "--philosophers"),
        (("--philosophers", 17), "--philosophers"),
        (("--meals", "many"), "--meals"),
        (("--meals", 0), "--meals"),
        (("--kill-every", -1), "--kill-every"),
        (("--nonsense",), "nonsense"),
        (("nonsense",), "nonsense"),
    ):
        status, out, err = run(*arguments)
        check(f"exit status of {arguments}", status == 2, status)
        check(f"{arguments} names what is wrong", named in err, err)
        check(f"{arguments} prints no report", out == "", out)
    check("--help", run("--help")[0] == 0)


TESTS = (
    test_peace, test_killed_by_parent, test_killed_from_outside, test_killed_parent, test_words,
    test_errors,
)


def main():
    global options, chance
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--build", type=pathlib.Path, default=ROOT / "build")
    parser.add_argument("--seed", type=int, default=random.randrange(1 << 32))
    parser.add_argument("--meals", type=int, default=20)
    parser.add_argument("--only", default="", help="run the tests with this in their name")
    options = parser.parse_args()
    options.build = options.build.resolve()
    chance = random.Random(options.seed)

    print(f"seed {options.seed}")
    return run_all(TESTS, options.only)


if __name__ == "__main__":
    sys.exit(main())
