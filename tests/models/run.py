#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Check the models of the protocols with spin: all that can happen, to the end.

run.py [--full] [--only PART-OF-A-NAME] [--work DIR]

Each model is searched completely and must have no error. Then errors are planted in it, one at a
time (-D of the model), and each must be found. --full adds the larger searches: some minutes, and
up to 12 GB. Prints states, seconds and megabytes. 77: spin is not there.
"""
import argparse
import concurrent.futures
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import time

HERE = pathlib.Path(__file__).resolve().parent
SECONDS, MEGABYTES = 100, 1500
FULL_SECONDS, FULL_MEGABYTES = 1200, 12000
DEPTH = 100000

# model, sizes
SOUND = [
    ("waitq_nudge", "WAITERS=2 WAKERS=1 DEATHS=1"),
    ("waitq_nudge", "WAITERS=2 WAKERS=2 DEATHS=0"),
    ("waitq_choose", "WAITERS=2 NOTIFY=1 DEATHS=1"),
    ("lock", "WAITERS=3 DEATHS=1"),
    ("lock", "WAITERS=2 DEATHS=2 REFUSE=true"),
    ("solo", "SENDS=2 OTHERS=2 DEATHS=1"),
    ("solo", "SENDS=2 OTHERS=2 DEATHS=2"),
    ("calm", "WAITERS=2 CHANGES=4 ROUNDS=1 DEATHS=1"),
    ("calm", "WAITERS=2 CHANGES=3 ROUNDS=2 DEATHS=1"),
    ("calm", "WAITERS=1 CHANGES=4 ROUNDS=2 DEATHS=2"),
    ("fork_slot", "DEATHS=2 REAPERS=1 FORKERS=1"),
    ("fork_slot", "DEATHS=2 REAPERS=1 FORKERS=1 OTHER_NAMESPACE=1"),
    ("fork_slot", "DEATHS=1 REAPERS=2 FORKERS=1"),
]
FULL = [
    ("waitq_nudge", "WAITERS=2 WAKERS=1 DEATHS=2"),
    ("waitq_nudge", "WAITERS=3 WAKERS=1 DEATHS=0"),
    ("waitq_choose", "WAITERS=2 NOTIFY=2 DEATHS=1"),
    ("waitq_choose", "WAITERS=2 NOTIFY=1 DEATHS=2"),
    ("waitq_choose", "WAITERS=3 NOTIFY=2 DEATHS=0"),
    ("lock", "WAITERS=3 DEATHS=1 REFUSE=true"),
    ("lock", "WAITERS=3 DEATHS=2"),
    ("solo", "SENDS=3 OTHERS=3 DEATHS=3"),
    ("calm", "WAITERS=2 CHANGES=5 ROUNDS=2 DEATHS=2 QUIET=2"),
    ("calm", "WAITERS=3 CHANGES=4 ROUNDS=1 DEATHS=0"),
    ("fork_slot", "DEATHS=2 REAPERS=2 FORKERS=1"),
    ("fork_slot", "DEATHS=1 REAPERS=1 FORKERS=2"),
    ("fork_slot", "DEATHS=1 REAPERS=1 FORKERS=2 OTHER_NAMESPACE=1"),
]
NUDGE, CHOOSE = "WAITERS=2 WAKERS=1 DEATHS=1", "WAITERS=2 NOTIFY=1 DEATHS=1"
SOLO = "SENDS=2 OTHERS=2 DEATHS=1"
CALM, CALM2 = "WAITERS=2 CHANGES=4 ROUNDS=1 DEATHS=1", "WAITERS=2 CHANGES=3 ROUNDS=2 DEATHS=1"
LOCK, SLOT = "WAITERS=3 DEATHS=1", "DEATHS=1 REAPERS=2 FORKERS=1"
# model, sizes, what is planted
PLANTED = [
    ("waitq_nudge", NUDGE, "NO_SECOND_LOOK"),
    ("waitq_nudge", NUDGE, "NO_RECHECK"),
    ("waitq_nudge", NUDGE, "NO_PASS_ON"),
    ("waitq_nudge", NUDGE, "NO_NUDGE_ALL"),
    ("waitq_nudge", NUDGE, "NO_RECORDS"),
    ("waitq_nudge", "WAITERS=2 WAKERS=2 DEATHS=0", "SWAP_TO_ASLEEP"),
    ("waitq_choose", CHOOSE, "NO_WAKE_TARGET"),
    ("waitq_choose", CHOOSE, "NO_TOKEN"),
    ("waitq_choose", CHOOSE, "PASSED_ON_TWICE"),
    ("waitq_choose", CHOOSE, "KEPT_TOKEN"),
    ("waitq_choose", CHOOSE, "NO_PASS_ON"),
    ("waitq_choose", CHOOSE, "NWAIT_FROM_0"),
    ("waitq_choose", "WAITERS=2 NOTIFY=2 DEATHS=1", "NWAIT_FIRST"),
    ("lock", LOCK, "NO_FENCE"),
    ("lock", LOCK, "NO_SECOND_LOOK"),
    ("lock", LOCK, "NO_STALE"),
    ("lock", LOCK, "NO_AFTER_WAIT"),
    ("lock", LOCK, "NO_CHECK_OF_HEIR"),
    ("lock", LOCK, "NO_NUDGE_ALL"),
    ("solo", SOLO, "NO_FENCE"),
    ("solo", SOLO, "NO_LOOK"),
    ("solo", SOLO, "LOOK_FIRST"),
    ("solo", SOLO, "NO_INTENT"),
    ("solo", SOLO, "DECIDE_EACH"),
    ("solo", SOLO, "NOT_ASKED"),
    ("solo", SOLO, "NO_REVOKE_AT_DEATH"),
    ("calm", CALM, "NO_BARRIER"),
    ("calm", CALM, "NO_FENCE"),
    ("calm", CALM, "FENCE_FIRST"),
    ("calm", CALM2, "ONLY_CALM"),
    ("calm", CALM2, "ZERO_AT_ONCE"),
    ("calm", CALM, "CALM_FIRST"),
    ("calm", CALM, "LOOK_FIRST"),
    ("calm", CALM, "CALM_LATE"),
    ("calm", CALM, "INTENT_ENDS_FIRST"),
    ("calm", CALM, "NO_WAKE_AT_DEATH"),
    ("fork_slot", SLOT, "LATE_TOKEN"),
    ("fork_slot", "DEATHS=0 REAPERS=2 FORKERS=2", "NO_REAP_BYTE"),
    ("fork_slot", SLOT, "NO_TAKEOVER"),
]


def number(pattern, text):
    found = re.search(pattern, text)
    return float(found.group(1)) if found else 0.0


def search(work, model, sizes, planted, seconds, megabytes):
    """What is wrong with it, or None; and a line of figures."""
    name = "-".join([model] + re.findall(r"\w+", sizes) + [planted])
    folder = work / name
    folder.mkdir(parents=True)
    defines = [f"-D{d}" for d in sizes.split() + ([planted] if planted else [])]
    made = subprocess.run(["spin", "-a", *defines, str(HERE / f"{model}.pml")], cwd=folder,
                          capture_output=True, text=True, timeout=60)
    if made.returncode != 0 or "Error" in made.stdout:
        return f"spin: {made.stdout}{made.stderr}", ""
    # HC4: 4 + 4 bytes of a hash in place of the state
    made = subprocess.run(["cc", "-w", "-O1" if planted else "-O2", "-DSAFETY", "-DHC4", f"-DMEMLIM={megabytes}",
                           "-o", "pan", "pan.c"], cwd=folder, capture_output=True, text=True,
                          timeout=120)
    if made.returncode != 0:
        return f"cc: {made.stderr}", ""
    start = time.monotonic()
    try:
        out = subprocess.run(["./pan", "-n", f"-m{DEPTH}"], cwd=folder, capture_output=True,
                             text=True, timeout=seconds).stdout
    except subprocess.TimeoutExpired:
        return f"not finished after {seconds} s", ""
    took = time.monotonic() - start
    states, memory = number(r"([\d.e+]+) states, stored", out), number(
        r"([\d.]+)\s+total actual memory", out)
    line = f"{states:12,.0f} states {took:6.1f} s {memory:7.0f} MB"
    errors = re.search(r"errors: (\d+)", out)
    if "max search depth too small" in out or "error: " in out.replace("errors:", ""):
        return "the search was cut off: " + out, line
    if planted:
        found = errors and errors.group(1) != "0" and (
            "assertion violated" in out or "invalid end state (" in out)
        return None if found else "NOT FOUND", line
    if "Search not completed" in out or "MEMLIM" in out:
        why = re.search(r"pan:1: .*", out)
        return (why.group(0) if why else "not complete: " + out), line
    if errors is None or errors.group(1) != "0":
        return out, line
    shutil.rmtree(folder)
    return None, line


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--full", action="store_true")
    parser.add_argument("--only", default="")
    parser.add_argument("--work", help="where to leave what has an error, for spin -t")
    options = parser.parse_args()
    if shutil.which("spin") is None:
        print("skipped: spin is not there; scripts/setup installs it")
        return 77
    jobs = [(m, s, "", SECONDS, MEGABYTES) for m, s in SOUND]
    jobs += [(m, s, p, SECONDS, MEGABYTES) for m, s, p in PLANTED]
    if options.full:
        jobs += [(m, s, "", FULL_SECONDS, FULL_MEGABYTES) for m, s in FULL]
    jobs = [job for job in jobs if options.only in " ".join(job[:3])]
    bad = 0
    with tempfile.TemporaryDirectory(prefix="kin-models-") as scratch:
        work = pathlib.Path(options.work or scratch).absolute()
        if options.work:
            shutil.rmtree(work, ignore_errors=True)
        workers = 1 if options.full else min(2, os.cpu_count() or 1)
        with concurrent.futures.ThreadPoolExecutor(workers) as pool:
            results = pool.map(lambda job: search(work, *job), jobs)
            for (model, sizes, planted, *_), (wrong, line) in zip(jobs, results):
                verdict = "ok" if wrong is None else "FAILED"
                what = f"{model} {sizes}" + (f", planted {planted}: found" if planted else "")
                print(f"{verdict:6} {line:44} {what}", flush=True)
                if wrong is not None:
                    bad += 1
                    print(wrong)
    print(f"{len(jobs) - bad} as they should be, {bad} not")
    return 1 if bad or not jobs else 0


if __name__ == "__main__":
    sys.exit(main())
