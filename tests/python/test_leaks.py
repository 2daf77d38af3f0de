"""Nothing is left behind: leaks.py, in an interpreter of its own."""

import os
import subprocess
import sys

LEAKS = os.path.join(os.path.dirname(os.path.abspath(__file__)), "leaks.py")


def test_nothing_grows():
    done = subprocess.run(
        [sys.executable, "-W", "ignore", LEAKS, "50"],
        capture_output=True, text=True, timeout=55, check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("nothing grew") >= 14
