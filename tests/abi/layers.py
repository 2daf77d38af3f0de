#!/usr/bin/env python3
"""layers.py SCRIPT: scripts/layers finds each kind of offence, and lets good code pass."""
import pathlib
import subprocess
import sys
import tempfile

GOOD = {
    "include/kin/kin.h": "#include <kin/queue.h>\n#include <stdint.h>\n",
    "include/kin/queue.h": "#include <stddef.h>\n",
    "src/base/bits.h": "#include <stdint.h>\n",
    "src/base/bits.c": '#include "bits.h"\n#include <kin/queue.h>\n',
    "src/os/os.h": '#include "base/bits.h"\n',
    "src/os/linux/futex.c": '#include "os/os.h"\n#include <sys/syscall.h>\n',
    "src/chan/queue.c": '#include "os/os.h"\n#include "base/bits.h"\n',
    "examples/hello.c": "#include <kin/kin.h>\n#include <stdio.h>\n",
    "bench/bench.h": "#include <stdio.h>\n",
    "bench/queue.c": '#include "bench.h"\n#include <kin/kin.h>\n',
}
BAD = {
    "src/base/word.c": '#include "os/os.h"\n',
    "src/base/sleep.c": "#include <unistd.h>\n",
    "src/os/linux/pool.c": '# include "chan/queue.h"\n',
    "src/os/linux/up.c": '#include "../../chan/queue.h"\n',
    "src/sync/wait.c": '#include "nowhere.h"\n',
    "src/util/x.c": '#include "base/bits.h"\n',
    "include/kin/pool.h": '#include "base/bits.h"\n',
    "examples/inside.c": '#include "../src/base/bits.h"\n',
    "bench/inside.c": '#include "base/bits.h"\n',
}


def run(files):
    with tempfile.TemporaryDirectory() as name:
        for path, text in files.items():
            file = pathlib.Path(name, path)
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text)
        done = subprocess.run([sys.executable, sys.argv[1], name], text=True, stdout=subprocess.PIPE)
        return done.returncode, done.stdout


failed = 0
status, out = run(GOOD)
if status != 0:
    print("NOT OK  good code does not pass:\n" + out)
    failed += 1
for path, text in BAD.items():
    status, out = run(GOOD | {"src/chan/queue.h": ""} | {path: text})
    found = status == 1 and f"{path}:1: " in out and "1 offences" in out
    print(f"{'ok' if found else 'NOT OK'}  {path}: {text.strip()}")
    failed += not found
sys.exit(failed > 0)
