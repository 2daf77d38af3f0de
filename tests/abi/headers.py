#!/usr/bin/env python3
"""headers.py INCLUDE_DIR LANGUAGE STANDARD -- COMPILER...: each public header must compile alone, and
twice, as that language without a warning."""
import pathlib
import re
import subprocess
import sys

include, language, standard = sys.argv[1:4]
compiler = sys.argv[5:]
headers = sorted(pathlib.Path(include, "kin").glob("*.h"))
flags = ["-x", language, f"-std={standard}", "-Wall", "-Wextra", "-Wpedantic", "-Wshadow", "-Wundef",
         "-Wconversion", "-Werror", "-fsyntax-only", "-I", include, "-"]
flags += ["-Wold-style-cast"] if language == "c++" else ["-Wstrict-prototypes", "-Wc++-compat"]

failed = 0
for header in headers:
    line = f"#include <kin/{header.name}>\n"
    # Something must be in the file, or -Wpedantic complains of an empty unit.
    run = subprocess.run(compiler + flags, input=line * 2 + "int kin_header_test;\n", text=True,
                         stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    print(f"{'ok' if run.returncode == 0 else 'NOT OK'}  <kin/{header.name}> as {standard}")
    if run.returncode != 0:
        print(run.stdout)
        failed += 1


def included(name, seen):
    """The headers that a header includes, and those that they include."""
    text = pathlib.Path(include, "kin", name).read_text()
    for inner in re.findall(r"^#include <kin/(.+)>$", text, flags=re.M):
        if inner not in seen:
            seen.add(inner)
            included(inner, seen)
    return seen


missing = [h.name for h in headers if h.name not in included("kin.h", {"kin.h"})]
if missing:
    print("NOT OK  kin.h does not include", *missing)
sys.exit(failed > 0 or bool(missing) or not headers)
