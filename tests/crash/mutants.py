# SPDX-License-Identifier: MIT
"""Faults planted on purpose: the kill harness must find each of them.

mutants.py SOURCE_ROOT WORK_DIR COMPILER...    (KIN_MUTANTS=folder/: only those of these sources)

Each fault is one exact replacement in one file (or more, where two places guard against the same);
a text that is not there exactly once is an error, so a fault cannot get lost when the sources
change: they are listed in faults/. The sources are copied first, so that they may be edited while
this runs. The changed files (or, for a header, what includes it) are compiled, linked with the
rest, and the named programs must report a failure.
"""
import concurrent.futures
import os
import pathlib
import shutil
import subprocess
import sys
import time

from faults import FAULTS

WORK = pathlib.Path(sys.argv[2]).absolute()
ROOT = WORK / "sources"
CC = sys.argv[3:]
FLAGS = ["-std=gnu11", "-O1", "-g1", "-D_GNU_SOURCE", "-pthread", "-w",
         f"-I{ROOT}/include", f"-I{ROOT}/tests"]
PROGRAMS = ["kill_batch", "kill_batch_pairs", "kill_queue", "kill_queue_pairs", "kill_growth",
            "kill_blocks", "kill_wait", "kill_objects", "kill_offer", "kill_open", "kill_pipe",
            "kill_pipe_pairs", "kill_join", "kill_lock", "kill_semaphore", "kill_sync",
            "kill_condition", "kill_sync_pairs", "kill_condition_pairs", "kill_store",
            "kill_value", "kill_zero_copy"]
SECONDS = 240

MUTANTS = [m for m in FAULTS if m[1].startswith(os.environ.get("KIN_MUTANTS", ""))]


class Unbuilt(Exception):
    """Something does not compile or link."""


def compile_to(source, target, include):
    command = [*CC, *FLAGS, f"-I{include}", "-MD", "-MF", f"{target}.d", "-c", source, "-o", target]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode != 0:
        raise Unbuilt(f"{source} does not compile:\n{done.stderr}")


def link(objects, target):
    command = [*CC, "-pthread", "-rdynamic", *map(str, objects), "-o", str(target)]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode != 0:
        raise Unbuilt(f"{target} does not link:\n{done.stderr}")


def run(program, scenario):
    """Exit status (None: not finished in time), what failed first, and what is wrong with the
    harness. A scenario that is not there is wrong, too: no kill points."""
    command = [str(program), "--fail-fast", "--only", f"={scenario}"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS)
    except subprocess.TimeoutExpired:
        return None, "", f"not finished after {SECONDS} s"
    lines = done.stdout.splitlines()
    failures = [line.removeprefix("# FAIL ") for line in lines if line.startswith("# FAIL ")]
    broken = [line.removeprefix("# ") for line in lines if "the harness cannot work" in line]
    if done.returncode != 0 and not failures and not broken:
        broken = [f"exit status {done.returncode}: {(lines or ['no output'])[-1]}"]
    return done.returncode, "".join(failures[:1]), "".join(broken[:1])


class Base:
    """The sources as they are, compiled."""

    def __init__(self, pool):
        self.library = {p: WORK / (str(p.relative_to(ROOT / "src")).replace("/", "_") + ".o")
                        for p in sorted((ROOT / "src").rglob("*.c"))}
        harness = sorted((ROOT / "tests/lib").glob("harness*.c"))
        self.harness = {p: WORK / (p.name + ".o") for p in harness}
        self.programs = {name: WORK / (name + ".c.o") for name in PROGRAMS}
        sources = {**self.library, **self.harness,
                   **{ROOT / "tests/crash" / (n + ".c"): o for n, o in self.programs.items()}}
        list(pool.map(lambda item: compile_to(item[0], item[1], ROOT / "src"), sources.items()))
        for name in PROGRAMS:
            self.link(name, self.library, WORK / name)

    def link(self, program, library, target):
        link([self.programs[program], *self.harness.values(), *library.values()], target)

    def users_of(self, path):
        """The library's sources that are, or include, that file."""
        return [source for source, target in self.library.items()
                if str(path) in pathlib.Path(f"{target}.d").read_text()]


def plant(base, number, mutant):
    """Returns what went wrong with the test of this fault, or (None, how it was noticed)."""
    try:
        return try_out(base, number, mutant)
    except Unbuilt as error:
        return str(error)


def change(tree, library, base, file, old, new):
    """The file changed in the tree, and what uses it compiled. Returns what went wrong."""
    original = ROOT / "src" / file
    text = original.read_text()
    if text.count(old) != 1:
        return f"the text to replace is there {text.count(old)} times in src/{file}"
    (tree / file).unlink()
    (tree / file).write_text(text.replace(old, new))
    for source in base.users_of(original):
        place = tree / source.relative_to(ROOT / "src")
        if place.is_symlink(): # a link would find its headers beside what it points to
            content = place.read_text()
            place.unlink()
            place.write_text(content)
        library[source] = tree / (place.name + ".o")
        compile_to(place, library[source], tree)
    return None


def try_out(base, number, mutant):
    name, file, old, new, trials, *more = mutant
    # a tree of links with some files changed, so that "x/y.h" is found in it first
    tree = WORK / f"mutant{number}"
    for source in (ROOT / "src").rglob("*.[ch]"):
        place = tree / source.relative_to(ROOT / "src")
        place.parent.mkdir(parents=True, exist_ok=True)
        place.symlink_to(source)
    library = dict(base.library)
    for replacement in [(file, old, new), *more]:
        wrong = change(tree, library, base, *replacement)
        if wrong:
            return wrong
    for program, scenario in trials:
        target = tree / program
        base.link(program, library, target)
        status, failure, broken = run(target, scenario)
        if broken:
            return f"{program} --only '={scenario}': {broken}"
        if status != 0 and failure:
            return None, failure
    return "nobody notices it"


def healthy(base, trial):
    program, scenario = trial
    status, failure, broken = run(WORK / program, scenario)
    if status == 0:
        return None
    return f"{program} --only '={scenario}' fails by itself: {failure or broken}"


def main():
    start = time.monotonic()
    for old in [ROOT, *WORK.glob("mutant*")]: # of an earlier run
        shutil.rmtree(old, ignore_errors=True)
    for folder in ["include", "src", "tests/lib", "tests/crash"]:
        shutil.copytree(pathlib.Path(sys.argv[1]) / folder, ROOT / folder)
    bad = 0
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        try:
            base = Base(pool)
        except Unbuilt as error:
            print(f"not ok: without a fault, {error}")
            return True
        trials = sorted({trial for mutant in MUTANTS for trial in mutant[4]})
        for complaint in filter(None, pool.map(lambda t: healthy(base, t), trials)):
            print(f"not ok: {complaint}", flush=True)
            bad += 1
        jobs = [pool.submit(plant, base, i, m) for i, m in enumerate(MUTANTS)]
        for mutant, job in zip(MUTANTS, jobs):
            result = job.result()
            if isinstance(result, str):
                print(f"not ok: {mutant[0]}: {result}", flush=True)
                bad += 1
            else:
                print(f"ok: {mutant[0]}: {result[1]}", flush=True)
    print(f"{len(MUTANTS)} planted faults, {bad} problems, {time.monotonic() - start:.0f} s")
    return bad != 0


sys.exit(main())
