#!/usr/bin/env python3
"""Measure the behaviour job side by side with a plain loop in C and with plain Python.

    behaviour.py [--build DIR] [--records N] [--runs N] [--python-records N] [LOG]

Without LOG it makes one of so many records in a directory of its own. The programs take turns, so
that a change in what the machine does hits all of them; each figure is the median of the runs.
Python runs once, on the first --python-records of the log (0: all), and its time is scaled up; its
memory is only compared when it ran on the whole log.
"""

import argparse
import itertools
import json
import pathlib
import statistics
import subprocess
import sys
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
CHUNKS = 8


def measure(command):
    done = subprocess.run([str(part) for part in command], stdout=subprocess.PIPE, check=True)
    return json.loads(done.stdout)


def answers(report):
    return {k: v for k, v in report.items()
            if k not in ("workers", "chunks", "seconds", "peak_memory_bytes")}


def measure_in_turns(commands, runs):
    """A list of reports for each name; the answers must be the same everywhere."""
    reports = {name: [] for name in commands}
    for _ in range(runs):
        for name, command in commands.items():
            reports[name].append(measure(command))
    everything = [answers(report) for some in reports.values() for report in some]
    if any(answer != everything[0] for answer in everything):
        sys.exit("the programs do not agree")
    return reports


def measure_python(log, lines, records, directory):
    """Seconds, scaled to the whole log, and bytes if it was the whole log."""
    part = log
    if records and records < lines:
        part = directory / "python.csv"
        with open(log, "rb") as source, open(part, "wb") as target:
            target.writelines(itertools.islice(source, records))
    report = measure([sys.executable, HERE / "behaviour_plain.py", part])
    seconds = report["seconds"] * lines / report["lines"]
    return seconds, report["peak_memory_bytes"] if part == log else None


def median(reports, key):
    return statistics.median(report[key] for report in reports)


def print_row(name, seconds, lines, peak):
    memory = f"{peak / 1e6:8.1f} MB" if peak else "          -"
    print(f"{name:24} {seconds:9.3f} s {seconds / lines * 1e9:9.1f} ns/record {memory}")


def print_ratio(name, value, wanted):
    print(f"{name:56} {value:7.2f}   wanted: {wanted}")


def print_results(reports, python, lines):
    seconds = {name: median(some, "seconds") for name, some in reports.items()}
    peak = {name: median(some, "peak_memory_bytes") for name, some in reports.items()}
    seconds["python"], peak["python"] = python
    for name in seconds:
        print_row(name, seconds[name], lines, peak[name])
    print()
    one, two, loop = seconds["1 worker"], seconds["2 workers"], seconds["loop"]
    print_ratio("time: one worker / two workers", one / two, ">= 1.85")
    print_ratio("time: one worker / plain loop", one / loop, "<= 1.10")
    print_ratio("time: Python / two workers", seconds["python"] / two, ">= 100")
    print_ratio("time: Python / plain loop", seconds["python"] / loop, "-")
    print_ratio("memory: two workers / plain loop", peak["2 workers"] / peak["loop"], "<= 1.50")
    if peak["python"]:
        print_ratio("memory: Python / two workers", peak["python"] / peak["2 workers"], ">= 2.70")


def bench(options, log, directory):
    job = options.build / "examples" / "behaviour"
    reports = measure_in_turns({
        "loop": [options.build / "bench" / "behaviour_loop", log],
        "1 worker": [job, "--json", "--workers", 1, "--chunks", CHUNKS, log],
        "2 workers": [job, "--json", "--workers", 2, "--chunks", CHUNKS, log],
    }, options.runs)
    lines = reports["loop"][0]["lines"]
    python = measure_python(log, lines, options.python_records, directory)
    print(f"{lines} records, {log.stat().st_size / 1e6:.0f} MB, {CHUNKS} chunks, "
          f"medians of {options.runs} runs\n")
    print_results(reports, python, lines)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--build", type=pathlib.Path, default=HERE.parent / "build")
    parser.add_argument("--records", type=int, default=10_000_000)
    parser.add_argument("--runs", type=int, default=7)
    parser.add_argument("--python-records", type=int, default=0)
    parser.add_argument("log", type=pathlib.Path, nargs="?")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="kin-bench-") as name:
        directory = pathlib.Path(name)
        log = options.log
        if not log:
            log = directory / "behaviour.csv"
            generator = options.build / "examples" / "behaviour_gen"
            subprocess.run([generator, "--records", str(options.records), "-o", log], check=True)
        bench(options, log, directory)


if __name__ == "__main__":
    main()
