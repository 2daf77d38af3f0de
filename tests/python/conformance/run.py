"""CPython's own test_multiprocessing_fork (_spawn, _forkserver), with kin in the place of multiprocessing.

    python run.py [--standard] [--text] [--spawn | --forkserver] [CLASS]...

Runs the classes for processes (--standard: with the standard library, to compare), each in an interpreter of its own, and prints the counts.
"""

import os
import re
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))

# Each class in its own interpreter: install first, then let the tests import multiprocessing.
RUN = """
import sys, types, unittest
sys.path.insert(0, {here!r})
if {use_kin}:
    import kin
    kin.install()
import conformance_{method} as conformance
space = vars(conformance)
space.get("setUpModule", lambda: None)()
if {name!r} == "?":
    print(*[n for n, c in space.items() if isinstance(c, type) and issubclass(c, unittest.TestCase)
            and not n.startswith(("WithManager", "WithThreads"))])
    sys.exit()
suite = unittest.defaultTestLoader.loadTestsFromTestCase(space[{name!r}])
result = unittest.TextTestRunner(verbosity=2).run(suite)
space.get("tearDownModule", lambda: None)()
"""


def run_class(name, use_kin, method, timeout=180):
    """The tests that ran, and the lines of those that failed."""
    code = RUN.format(name=name, use_kin=use_kin, method=method, here=HERE)
    try:
        done = subprocess.run(
            [sys.executable, "-W", "ignore", "-c", code],
            capture_output=True, text=True, timeout=timeout, check=False,
        )
    except subprocess.TimeoutExpired as late:
        text = (late.stderr or b"").decode(errors="replace")
        return len(re.findall(r"\.\.\. ok", text)), 0, [f"HANGS after: {text[-300:]!r}"], text
    text = done.stderr
    ran = re.search(r"Ran (\d+) test", text)
    if ran is None:
        return 0, 0, [f"DID NOT RUN: {text[-300:]!r}"], text
    failed = re.findall(r"^(?:FAIL|ERROR): .*$", text, re.M)
    skipped = re.search(r"skipped=(\d+)", text)
    skips = int(skipped.group(1)) if skipped else 0
    return int(ran.group(1)) - skips - len(failed), skips, failed, text


def all_classes(method):
    """The names of the classes: those for processes, and those that are for no kind."""
    done = subprocess.run(
        [sys.executable, "-c", RUN.format(name="?", use_kin=False, method=method, here=HERE)],
        capture_output=True, text=True, check=True,
    )
    return done.stdout.split()


def main():
    """Run them and count."""
    arguments = sys.argv[1:]
    use_kin = "--standard" not in arguments
    method = ([m for m in ("spawn", "forkserver") if f"--{m}" in arguments] or ["fork"])[0]
    classes = [a for a in arguments if not a.startswith("-")] or all_classes(method)
    passed = skipped = 0
    failed = []
    for name in classes:
        good, skips, bad, text = run_class(name, use_kin, method)
        passed += good
        skipped += skips
        failed += [f"{name}: {line}" for line in bad]
        print(f"{name}: {good} passed, {skips} skipped, {len(bad)} failed", flush=True)
        for line in bad:
            print("    " + line)
        if "--text" in arguments:
            print(text)
    print(f"in all: {passed} passed, {skipped} skipped, {len(failed)} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
