#!/usr/bin/env python3
"""Test the small examples: the event loop over two queues, and the ball through a pipe.

    small.py --build DIR [--only TEST]

DIR holds examples/epoll_queue and examples/ping_pong.
"""

import argparse
import os
import pathlib
import re
import signal
import subprocess
import sys
import time

from programs import check, children, leftovers, reap_orphans, run_all, without_leak_check

ROOT = pathlib.Path(__file__).resolve().parents[2]
TIMEOUT = 60

options = None


def start(name, *arguments):
    return subprocess.Popen(
        [str(options.build / "examples" / name), *map(str, arguments)],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=without_leak_check())


def end(program):
    """The exit status and what was said. One that does not end is the end of the test, too."""
    try:
        out, err = program.communicate(timeout=TIMEOUT)
    except subprocess.TimeoutExpired:
        program.kill()
        sys.exit(f"FAILED: {program.args} hangs")
    return program.returncode, out, err


def test_epoll_queue():
    """Each message once, those of a queue in their order; the timer ticks beside them."""
    before = leftovers()
    ended = end(start("epoll_queue"))
    status, out, err = ended
    lines = out.splitlines()
    check("epoll_queue: exit status", status == 0 and err == "", ended)
    for name, expected in (("number", ["1", "4", "9", "16", "25"]),
                           ("word", ["one", "queue", "and", "another"])):
        got = [line.removeprefix(f"{name}: ") for line in lines if line.startswith(f"{name}: ")]
        check(f"epoll_queue: {name}s", got == expected, ended)
    dots = lines.count(".")
    check("epoll_queue: the timer", dots > 0, ended) # the words take 280 ms at least
    check("epoll_queue: nothing else is said", len(lines) == 9 + dots, ended)
    check("epoll_queue: nothing is left", leftovers() == before, leftovers())


def test_ping_pong():
    for arguments, rounds in (((), 100000), ((1,), 1), ((500,), 500), ((-3,), 1)):
        before = leftovers()
        ended = end(start("ping_pong", *arguments))
        status, out, err = ended
        check(f"ping_pong {arguments}: exit status", status == 0 and err == "", ended)
        check(f"ping_pong {arguments}: what it says",
              re.fullmatch(rf"{rounds} rounds, \d+\.\d\d us each\n", out), ended)
        check(f"ping_pong {arguments}: nothing is left", leftovers() == before, leftovers())


def test_killed_player():
    """Who returns the balls is killed: the pipe ends, and the program says so and ends."""
    before = leftovers()
    program = start("ping_pong", 1 << 40)
    give_up = time.monotonic() + TIMEOUT
    while not children(program.pid) and time.monotonic() < give_up:
        time.sleep(0.001)
    victims = children(program.pid)
    time.sleep(0.02)
    for victim in victims:
        os.kill(victim, signal.SIGKILL)
    status, out, err = end(program)
    check("killed player: exit status", status == 1, (status, out, err))
    check("killed player: no rounds are told", out == "", out)
    check("killed player: what is wrong is said", err.strip() != "", err)
    check("killed player: nothing is left", leftovers() == before, leftovers())


def test_killed_program():
    """The children go with the process that started them."""
    for name, arguments, some in (("ping_pong", (1 << 40,), 1), ("epoll_queue", (), 2)):
        before = leftovers()
        program = start(name, *arguments)
        while program.poll() is None and len(children(program.pid)) < some:
            time.sleep(0.001)
        program.kill()
        end(program)
        give_up = time.monotonic() + 10
        while leftovers() != before and time.monotonic() < give_up:
            reap_orphans()
            time.sleep(0.01)
        check(f"{name}: all go with their parent", leftovers() == before, leftovers())


TESTS = (test_epoll_queue, test_ping_pong, test_killed_player, test_killed_program)


def main():
    global options
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--build", type=pathlib.Path, default=ROOT / "build")
    parser.add_argument("--only", default="", help="run the tests with this in their name")
    options = parser.parse_args()
    options.build = options.build.resolve()
    return run_all(TESTS, options.only)


if __name__ == "__main__":
    sys.exit(main())
