"""The program beside the tests that ends a run which hangs, and says where it hangs.

It is a process, not a thread: a thread would make every fork of the tests a fork beside threads.

watcher.py SECONDS SIGNAL FILE: each line that it reads is the name of the test that now begins. When
no line has come for so long, it asks the tests and all that descends from them by that signal for
their tracebacks (faulthandler writes them to that descriptor), and kills them. It ends with the
tests.
"""

import os
import pathlib
import select
import signal
import sys
import time


def parents():
    """Of each process on this machine, its parent."""
    found = {}
    for entry in pathlib.Path("/proc").glob("[0-9]*"):
        try:
            found[int(entry.name)] = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
        except OSError:  # it has ended
            pass
    return found


def family(first):
    """That process and its descendants, but for this one."""
    known, found = parents(), [first]
    for pid in found:
        found += [child for child, parent in known.items() if parent == pid]
    return [pid for pid in found if pid != os.getpid()]


def look(pid):
    """What the kernel says of it: its name, its state, and what it waits for in each thread."""
    try:
        words = pathlib.Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()
        waits = [(task / "wchan").read_text() for task in pathlib.Path(f"/proc/{pid}/task").iterdir()]
        return f"{words[:120]}: waits in {', '.join(waits)}"
    except OSError as error:
        return str(error)


def send(pid, number):
    """A signal, if it still lives."""
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        pass


def show(text):
    """Tracebacks, without what is under each test."""
    for line in text.splitlines():
        if not any(part in line for part in ("/_pytest/", "/pluggy/", "/pytest/", "<frozen runpy>")):
            print(line, file=sys.stderr, flush=True)


def main():
    """Until the tests end."""
    limit, number, dumps = (int(word) for word in sys.argv[1:])
    tests = os.getppid()
    name, since = "the beginning", time.monotonic()
    while os.getppid() == tests:
        if select.select([0], [], [], 1)[0]:
            line = os.read(0, 65536)
            if not line:
                return
            name, since = line.decode().splitlines()[-1], time.monotonic()
        elif time.monotonic() - since > limit:
            break
    else:
        return
    print(f"\nhangs: {name}: no end after {limit} s", file=sys.stderr, flush=True)
    for pid in family(tests):
        print(f"\nprocess {pid}: {look(pid)}", file=sys.stderr, flush=True)
        start = os.fstat(dumps).st_size
        send(pid, number)
        time.sleep(0.5)
        show(os.pread(dumps, 1 << 20, start).decode())
    for pid in family(tests):
        send(pid, signal.SIGKILL)


main()
