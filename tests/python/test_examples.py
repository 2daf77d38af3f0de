"""The programs of examples/python: unchanged, they print with kin what they print without."""

import json
import os
import pathlib
import random
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
EXAMPLES = sorted((ROOT / "examples/python").glob("*.py"))
SIMPLE = [path for path in EXAMPLES if path.name != "behaviour.py"]
MAIN = 'if __name__ == "__main__":\n'


def run(*command):
    """What it prints; it must print no complaints."""
    done = subprocess.run(
        [sys.executable, *map(str, command)],
        env=os.environ, capture_output=True, text=True, timeout=120, check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def test_there_are_examples():
    assert len(SIMPLE) >= 10


@pytest.mark.parametrize("path", SIMPLE, ids=lambda path: path.stem)
def test_as_it_is(path):
    printed = run(path)
    assert printed and run("-m", "kin", path) == printed


@pytest.mark.parametrize("method", ["spawn", "forkserver"])
@pytest.mark.parametrize("path", SIMPLE, ids=lambda path: path.stem)
def test_with_children_that_start_anew(path, method, tmp_path):
    text = path.read_text()
    assert text.count(MAIN) == 1
    chosen = f"    import multiprocessing\n    multiprocessing.set_start_method({method!r})\n"
    copy = tmp_path / path.name
    copy.write_text(text.replace(MAIN, MAIN + chosen))
    assert run("-m", "kin", copy) == run(path)


def write_log(path, seed):
    """A log of the shape that shops have, with some lines that are broken."""
    dice = random.Random(seed)
    with open(path, "w", encoding="latin-1") as file:
        for _ in range(60_000):
            behaviour = dice.choices(["pv", "cart", "fav", "buy", "bye"], [80, 10, 6, 3, 1])[0]
            second = 1511539200 + dice.randrange(9 * 86400)
            user, item = dice.randrange(5000), int(dice.paretovariate(0.4)) % 100_000
            file.write(f"{user},{item},{item % 97},{behaviour},{second}\n")


def test_behaviour(tmp_path):
    seed = random.randrange(1 << 32)
    print("seed", seed)
    log = tmp_path / "log.csv"
    write_log(log, seed)
    wanted = json.loads(run(ROOT / "bench/behaviour_plain.py", log))
    for workers in (1, 3):
        got = json.loads(
            run("-m", "kin", ROOT / "examples/python/behaviour.py", "--workers", workers, log)
        )
        assert got == {key: wanted[key] for key in got}
        assert len(got) == 10 and got["malformed"] > 0
