#!/usr/bin/env python3
"""Test the behaviour job against an independent computation (bench/behaviour_plain.py).

    job.py --build DIR [--sample FILE] [--seed N] [--kill-runs N]

DIR holds examples/behaviour and examples/behaviour_gen. FILE is the real sample, if it is at hand.
"""

import argparse
import json
import os
import pathlib
import pty
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "bench"))
import behaviour_plain  # noqa: E402
from programs import check, children, leftovers, run_all, without_leak_check  # noqa: E402

KEYS = (
    "lines malformed users items categories events top_items top_categories pv_by_hour funnel "
    "workers chunks seconds peak_memory_bytes"
).split()
ABOUT_THE_RUN = {"workers", "chunks", "seconds", "peak_memory_bytes"}
TIMEOUT = 60

options = None
work = None


# --- running the job ------------------------------------------------------------------------------


def command(*arguments):
    return [str(options.build / "examples" / "behaviour"), *map(str, arguments)]


def run(*arguments):
    """Run the job and make sure that nothing of it remains."""
    before = leftovers()
    done = subprocess.run(command(*arguments), capture_output=True, timeout=TIMEOUT, cwd=work)
    check(f"nothing is left of {arguments}", leftovers() == before, leftovers())
    return done


def findings(report):
    return {key: value for key, value in report.items() if key not in ABOUT_THE_RUN}


def analyse(*arguments):
    """The report of a run that goes well, and what it said on standard error."""
    done = run("--json", *arguments)
    try:
        report = json.loads(done.stdout)
    except ValueError:
        report = {}
    check(f"exit status of {arguments}", done.returncode == 0, done)
    check(f"keys of {arguments}", list(report) == KEYS, done)
    return report, done.stderr.decode("latin-1").splitlines()


def expect(*paths):
    """The independent computation."""
    analysis = behaviour_plain.Analysis()
    for path in paths:
        with open(work / path, encoding="latin-1", newline="\n") as file:
            analysis.add(behaviour_plain.rows_exactly(file))
    return analysis.report()


def compare(name, arguments, expected):
    report, _ = analyse(*arguments)
    wrong = {k: (report.get(k), v) for k, v in expected.items() if report.get(k) != v}
    check(f"{name} {arguments}", not wrong, wrong)
    return report


def write(name, content):
    (work / name).write_bytes(content)
    return name


def generate(name, *arguments):
    generator = str(options.build / "examples" / "behaviour_gen")
    subprocess.run([generator, *map(str, arguments), "-o", str(work / name)], check=True)
    return name


# --- small logs, written by hand ------------------------------------------------------------------

GOOD = b"1,2,3,pv,1511658000"
BIG = str(2**64 - 1).encode()
OVER = str(2**64).encode()
MALFORMED = {
    b"": "1 field instead of 5",
    b"1,2,3,pv": "4 fields instead of 5",
    b"1,2,3,pv,1511658000,": "6 fields instead of 5",
    b",2,3,pv,1511658000": "user_id is empty",
    b"1,,3,pv,1511658000": "item_id is empty",
    b"1,2,,pv,1511658000": "category_id is empty",
    b"1,2,3,,1511658000": "behavior is empty",
    b"1,2,3,pv,": "timestamp is empty",
    b"-1,2,3,pv,1511658000": "user_id is not a decimal integer",
    b"1,+2,3,pv,1511658000": "item_id is not a decimal integer",
    b"1,2,0x3,pv,1511658000": "category_id is not a decimal integer",
    b"1,2,3,pv,15116.8": "timestamp is not a decimal integer",
    b"1, 2,3,pv,1511658000": "item_id is not a decimal integer",
    b"1,2,3,pv,1511658000 ": "timestamp is not a decimal integer",
    b"1,2,3,pv,1511658000\r\r": "timestamp is not a decimal integer",
    b"1,2\r,3,pv,1511658000": "item_id is not a decimal integer",
    b"1,2,3\0,pv,1511658000": "category_id is not a decimal integer",
    b"1,2,3,pv,\xb2": "timestamp is not a decimal integer",
    b"1,2,3,pv,123456789012345x": "timestamp is not a decimal integer",
    b'"1",2,3,pv,1511658000': "user_id is not a decimal integer",
    OVER + b",2,3,pv,1511658000": "user_id does not fit 64 bits",
    b"1," + OVER + b",3,pv,1511658000": "item_id does not fit 64 bits",
    b"1,2,99999999999999999999,pv,1511658000": "category_id does not fit 64 bits",
    b"1,2,3,pv,184467440737095516150": "timestamp does not fit 64 bits",
    b"1,2,3,PV,1511658000": "behavior is none of pv, cart, fav and buy",
    b"1,2,3,pvs,1511658000": "behavior is none of pv, cart, fav and buy",
    b"1,2,3,carts,1511658000": "behavior is none of pv, cart, fav and buy",
    b"1,2,3,p,1511658000": "behavior is none of pv, cart, fav and buy",
    b"1,2,3,bu,1511658000": "behavior is none of pv, cart, fav and buy",
}
UNUSUAL = [
    b"0,0,0,pv,0",
    b"0,0,0,cart,0",
    BIG + b"," + BIG + b"," + BIG + b",pv," + BIG,
    BIG + b"," + BIG + b"," + BIG + b",buy," + BIG,
    b"007,0000000000000000000000000000000000000007,7,fav,0001511658000",
    b"7,7,7,buy,1511658000",
    b"16777215,16777216,4294967296,cart,1511658000",
    b"16777216,16777215,4294967295,fav,1511658000",
    b"1,2,3,buy,123456789012345",
    b"1,2,3,buy,1234567890123456",
    b"12345678,123456789,1234567,pv,12345678",
    b"1,99999,98765,fav,28799",
    b"0" * 300000 + b"7,8,9,pv," + b"0" * 700000 + b"1511658000",
]


def test_small_logs():
    """Each log in every possible number of chunks, or some of them."""
    everything = list(MALFORMED) + UNUSUAL + [GOOD] * 3
    random.Random(options.seed).shuffle(everything)
    long_and_bad = b"x" * 600000 + b"," * 300000
    logs = {
        "empty": b"",
        "one-newline": b"\n",
        "newlines": b"\n" * 10,
        "return": b"\r",
        "one": GOOD + b"\n",
        "one-without-end": GOOD,
        "one-with-return": GOOD + b"\r",
        "crlf": GOOD + b"\r\n" + GOOD + b"\r\n",
        "crlf-then-none": GOOD + b"\r\n" + GOOD,
        "blank-line-last": GOOD + b"\n\n",
        "everything": b"\n".join(everything) + b"\n",
        "everything-crlf": b"\r\n".join(everything),
        "long": b"\n".join([GOOD, long_and_bad, GOOD, UNUSUAL[-1], GOOD]),
        "long-last": GOOD + b"\n" + long_and_bad,
        "long-only": b"7" * 1000000,
        "buffer-size": b"x" * (256 * 1024) + b"\n" + GOOD,
        "buffer-size-last": b"x" * (256 * 1024),
        "buffer-size-less": b"x" * (256 * 1024 - 1) + b"\n" + GOOD + b"\n",
    }
    for name, content in logs.items():
        path = write(name, content)
        expected = expect(path)
        counts = range(1, len(content) + 2) if len(content) < 50 else (1, 2, 3, 5, 8, 33)
        for chunks in counts:
            compare(name, ("--workers", 2, "--chunks", chunks, path), expected)
    compare("one chunk a byte", ("--chunks", 300, write("f", (GOOD + b"\n") * 15)), expect("f"))


def test_several_files():
    paths = [
        write("f1", (GOOD + b"\n") * 100),
        write("f2", b""),
        write("f3", b"5,6,7,buy,1511658000"),
        write("f4", b"5,6,7,buy,1511658001\r\n\n"),
    ]
    expected = expect(*paths)
    for chunks in (1, 2, 4, 50):
        compare("several files", ("--chunks", chunks, *paths), expected)
    compare("the same file twice", ("f1", "f1"), expect("f1", "f1"))


def test_reports_of_malformed():
    """Standard error names the first five in the order of the input, with the right line."""
    lines = list(MALFORMED)
    path = write("malformed", b"\n".join([GOOD, *lines]))
    said = analyse("--chunks", 7, path)[1]
    wanted = [f"{path}:{n + 2}: {MALFORMED[line]}" for n, line in enumerate(lines[:5])]
    check("the first five are named", said == wanted, said)

    for line, reason in MALFORMED.items():
        said = analyse(write("m", GOOD + b"\n" + line + b"\n"))[1]
        check(f"the reason of {line}", said == [f"m:2: {reason}"], said)

    write("m1", b"".join(GOOD + b"\n" for _ in range(1000)) + b"bad\n")
    write("m2", b"".join(GOOD + b"\n" + b"bad\n" * (n % 300 == 299) for n in range(1000)))
    wanted = ["m1:1001", "m2:301", "m2:602", "m2:903", "m1:1001"]
    for chunks in (1, 8, 100):
        said = analyse("--chunks", chunks, "m1", "m2", "m1", "m2")[1]
        said = [line.split(": ")[0] for line in said]
        check(f"lines of several files in {chunks} chunks", said == wanted, said)


# --- larger logs ----------------------------------------------------------------------------------


def test_workers_and_chunks(name, path):
    """The same answer whatever the work is shared among."""
    expected = expect(path)
    for workers, chunks in ((1, 1), (1, 8), (2, 8), (2, 1), (3, 7), (8, 64), (8, 3), (2, 1000)):
        report = compare(name, ("--workers", workers, "--chunks", chunks, path), expected)
        shared = (report["workers"], report["chunks"])
        check(f"{name}: workers and chunks", shared == (workers, chunks), shared)
        check(f"{name}: time and memory", report["seconds"] > 0 and report["peak_memory_bytes"] > 0)
    compare(name, (path,), expected)


def spread(path, name):
    """The same log with large and scattered numbers for users and items."""
    with open(work / path) as source, open(work / name, "w") as target:
        for line in source:
            fields = line.split(",")
            fields[0] = str(int(fields[0]) * 0x9E3779B97F4A7C15 % 2**64)
            fields[1] = str(int(fields[1]) * 0xBF58476D1CE4E5B9 % 2**64)
            target.write(",".join(fields))
    return name


def test_larger_logs():
    plain = generate("plain", "--records", 100000, "--seed", 7)
    test_workers_and_chunks("generated", plain)
    test_workers_and_chunks("large numbers", spread(plain, "spread"))
    bad = generate("bad", "--records", 100000, "--seed", 8, "--malformed", 20000, "--crlf")
    test_workers_and_chunks("malformed", bad)


def test_sample():
    if options.sample and options.sample.is_file():
        test_workers_and_chunks("the real sample", options.sample.resolve())
    else:
        print(f"the real sample is not at hand ({options.sample}): not tested")


def test_generator():
    same = [generate(f"same{n}", "--records", 5000, "--seed", 3) for n in (1, 2)]
    other = generate("other", "--records", 5000, "--seed", 4)
    first, second, third = ((work / name).read_bytes() for name in (*same, other))
    check("the same seed, the same log", first == second)
    check("another seed, another log", first != third)
    events = expect(generate("plain", "--records", 100000))["events"]
    for behaviour, share in (("pv", 0.896), ("cart", 0.055), ("fav", 0.029), ("buy", 0.02)):
        check(f"share of {behaviour}", abs(events[behaviour] / 100000 - share) < 0.004, events)


# --- dying workers --------------------------------------------------------------------------------


class Killer(threading.Thread):
    """Kills children of a process at random moments, some times."""

    def __init__(self, pid, chance, pause, limit):
        super().__init__()
        self.pid, self.chance, self.pause, self.limit = pid, chance, pause, limit
        self.killed = 0
        self.stopped = False

    def run(self):
        while not self.stopped and self.killed < self.limit:
            time.sleep(self.chance.uniform(0, self.pause))
            victims = children(self.pid)
            if not victims:
                continue
            try:
                os.kill(self.chance.choice(victims), signal.SIGKILL)
                self.killed += 1
            except ProcessLookupError:
                pass


def test_killed_workers():
    paths = [generate("kill", "--records", options.kill_records, "--malformed", 100, "--seed", 5)]
    paths.append(spread(generate("kill2", "--records", options.kill_records // 2), "kill3"))
    answers = {path: expect(path) for path in paths}
    seconds = {path: analyse(path)[0]["seconds"] for path in paths}
    chance = random.Random(options.seed)
    killed = 0
    for n in range(options.kill_runs):
        path = paths[n % len(paths)]
        workers, chunks = chance.choice(((1, 4), (2, 8), (2, 40), (3, 16), (8, 16)))
        before = leftovers()
        job = subprocess.Popen(
            command("--json", "--workers", workers, "--chunks", chunks, path),
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=work, env=without_leak_check())
        killer = Killer(job.pid, chance, seconds[path], chance.randint(1, 8))
        killer.start()
        try:
            out, err = job.communicate(timeout=TIMEOUT)
        except subprocess.TimeoutExpired:
            job.kill()
            out, err = job.communicate()
        killer.stopped = True
        killer.join()
        killed += killer.killed
        name = f"run {n} on {path}: {workers} workers, {chunks} chunks, {killer.killed} killed"
        check(f"{name}: exit status", job.returncode == 0, err)
        check(f"{name}: the same report",
              job.returncode == 0 and findings(json.loads(out)) == answers[path], out)
        check(f"{name}: nothing is left", leftovers() == before, leftovers())
    check("some workers were killed", killed > 0 or options.kill_runs == 0)
    print(f"{killed} workers killed in {options.kill_runs} runs, seed {options.seed}")


def test_killed_parent():
    """The workers go with the process that started them."""
    path = generate("kill", "--records", options.kill_records)
    before = leftovers()
    job = subprocess.Popen(command("--json", path), stdout=subprocess.DEVNULL, cwd=work)
    while job.poll() is None and not children(job.pid):
        time.sleep(0.001)
    job.kill()
    job.wait()
    end = time.monotonic() + 10
    while leftovers() != before and time.monotonic() < end:
        try:
            os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            pass
        time.sleep(0.01)
    check("workers end with their parent", leftovers() == before, leftovers())


# --- command line ---------------------------------------------------------------------------------


def test_errors():
    write("good", GOOD)
    os.mkfifo(work / "pipe")
    for arguments, status, named in (
        ((), 2, b"no file"),
        (("--workers", 0, "good"), 2, b"--workers"),
        (("--workers", "two", "good"), 2, b"--workers"),
        (("--chunks", -1, "good"), 2, b"--chunks"),
        (("--chunks", 0, "good"), 2, b"--chunks"),
        (("--nonsense", "good"), 2, b"nonsense"),
        (("good", "missing"), 1, b"missing"),
        (("missing", "good"), 1, b"missing"),
        (("good", "."), 1, b"."),
        (("pipe",), 1, b"pipe"),
        (("--workers", 1, "good/x"), 1, b"good/x"),
    ):
        done = run(*arguments)
        check(f"exit status of {arguments}", done.returncode == status, done)
        check(f"{arguments} names what is wrong", named in done.stderr, done)
        check(f"{arguments} prints no report", done.stdout == b"", done)
    if os.geteuid() != 0:
        os.chmod(work / write("secret", GOOD), 0)
        done = run("secret")
        check("a forbidden file", done.returncode == 1 and b"secret" in done.stderr, done)
    check("--help", run("--help").returncode == 0)
    with open("/dev/full", "w") as full:
        done = subprocess.run(command("good"), stdout=full, stderr=subprocess.PIPE, cwd=work)
    check("a full disk", done.returncode == 1 and done.stderr, done)


def test_report():
    path = generate("report", "--records", 100000)
    text = run(path).stdout.decode()
    expected = expect(path)
    for count in (expected["lines"], expected["users"], expected["funnel"]["wanted"],
                  expected["events"]["buy"], expected["top_items"][0][0]):
        check(f"the report says {count}", f"{count:,}" in text or str(count) in text, text)
    check("the report has all hours", all(f"{hour:02}:00" in text for hour in range(24)), text)
    check("the report has bars", "#" * 50 in text, text)


def on_terminal(*arguments):
    """What the job writes to a terminal as standard error."""
    ours, theirs = pty.openpty()
    job = subprocess.Popen(
        command(*arguments), stdout=subprocess.DEVNULL, stderr=theirs, cwd=work)
    os.close(theirs)
    said = b""
    try:
        while piece := os.read(ours, 4096):
            said += piece
    except OSError:
        pass  # that is how the end of a terminal looks
    os.close(ours)
    check(f"{arguments} on a terminal", job.wait(TIMEOUT) == 0)
    return said


def test_progress():
    generate("long", "--records", 2000000)
    said = on_terminal("--json", "--workers", 1, "long")
    check("progress on a terminal", b"records" in said and b"MB/s" in said and b"%" in said, said)
    said = on_terminal("--json", "--no-progress", "long")
    check("--no-progress", said == b"", said)
    check("no progress elsewhere", analyse("long")[1] == [])


TESTS = (
    test_small_logs, test_several_files, test_reports_of_malformed, test_larger_logs, test_sample,
    test_generator, test_killed_workers, test_killed_parent, test_errors, test_report,
    test_progress,
)


def main():
    global options, work
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--build", type=pathlib.Path, default=ROOT / "build")
    default = os.environ.get("KIN_SAMPLE", ROOT.parent / "shared/data/UserBehavior-sample.csv")
    parser.add_argument("--sample", type=pathlib.Path, default=pathlib.Path(default))
    parser.add_argument("--seed", type=int, default=random.randrange(1 << 32))
    parser.add_argument("--only", default="", help="run the tests with this in their name")
    parser.add_argument("--kill-runs", type=int, default=20)
    parser.add_argument("--kill-records", type=int, default=1000000)
    options = parser.parse_args()
    options.build = options.build.resolve()
    if hasattr(sys, "set_int_max_str_digits"):
        sys.set_int_max_str_digits(0)

    print(f"seed {options.seed}")
    with tempfile.TemporaryDirectory(prefix="kin-job-") as directory:
        work = pathlib.Path(directory)
        return run_all(TESTS, options.only)


if __name__ == "__main__":
    sys.exit(main())
