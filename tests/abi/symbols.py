#!/usr/bin/env python3
"""symbols.py LIBRARY INCLUDE_DIR NM...: the shared library exports the functions that the public
headers declare with KIN_API, all of them and nothing else."""
import pathlib
import re
import subprocess
import sys

library, include, nm = sys.argv[1], sys.argv[2], sys.argv[3:]
declared, plain = set(), set()
for header in pathlib.Path(include, "kin").glob("*.h"):
    text = re.sub(r"/\*.*?\*/", "", header.read_text(), flags=re.S)
    text = re.sub(r"^\s*#.*(?:\\\n.*)*$", "", text, flags=re.M)
    declared |= set(re.findall(r"\bKIN_API\b[^;{(]*?\b(\w+)\s*\(", text))
    for name in re.findall(r"^(?!KIN_API|static inline )\w[^\n(]*\b(kin_\w+)\s*\(", text, flags=re.M):
        print(f"NOT OK  {header.name}: {name} is declared without KIN_API")
        plain.add(name)

exported = set()
for line in subprocess.check_output(nm + ["-D", "--defined-only", library], text=True).splitlines():
    kind, name = line.split()[-2:]
    if kind != "A":  # the name of the version itself
        exported.add(name.split("@")[0])

for name in sorted(declared - exported):
    print(f"NOT OK  {name} is declared but not exported")
for name in sorted(exported - declared):
    print(f"NOT OK  {name} is exported but not declared")
print(f"{len(declared)} functions declared, {len(exported)} exported")
sys.exit(declared != exported or bool(plain) or not declared)
