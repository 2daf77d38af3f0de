"""Runs the Python programs that README shows, each in a file of its own, with this interpreter."""

import os
import re
import subprocess
import sys
import tempfile

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


def main():
    """1 if there are none, or one fails."""
    with open(os.path.join(ROOT, "README.md"), encoding="utf-8") as file:
        programs = re.findall(r"^```python\n(.*?)^```$", file.read(), re.M | re.S)
    failed = 0
    with tempfile.TemporaryDirectory() as folder:
        for program in programs:
            path = os.path.join(folder, "program.py")
            with open(path, "w", encoding="utf-8") as file:
                file.write(program)
            done = subprocess.run([sys.executable, path], cwd=folder, timeout=60, check=False)
            failed += done.returncode != 0
    print(f"{len(programs)} programs, {failed} failed")
    return 1 if failed or not programs else 0


if __name__ == "__main__":
    sys.exit(main())
