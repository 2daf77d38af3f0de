#!/usr/bin/env python3
"""bench/run.py [--build DIR] [--quick] [--runs N] [NAME...]

Run the benchmarks one after another and write one report to standard output. Without names all of
them; the programs are those in DIR/bench (build-bench), made with

    meson setup build-bench -Dbench=true --buildtype=release && ninja -C build-bench

The job (behaviour) has a benchmark of its own, which is not among these.
"""
import argparse
import pathlib
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
NAMES = ["queue_throughput", "queue_latency", "large_messages", "lock_alloc", "pool_tasks",
         "process_start", "sync_uncontended", "sync_contended", "sync_latency", "ready_latency",
         "sync_barrier", "sync_death", "channel_throughput", "channel_latency", "channel_batches",
         "channel_zero_copy", "channel_priority", "value_add"]


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[1],
                                     usage=__doc__.split("\n")[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of: {', '.join(NAMES)}")
    parser.add_argument("--build", default="build-bench", help="build directory (build-bench)")
    parser.add_argument("--quick", action="store_true", help="short, to see that it works")
    parser.add_argument("--runs", type=int, help="rounds, of which medians are shown")
    args = parser.parse_args()
    unknown = set(args.names) - set(NAMES)
    if unknown:
        parser.error(f"no such benchmark: {', '.join(sorted(unknown))}")
    options = ["--quick"] * args.quick + (["--runs", str(args.runs)] if args.runs else [])
    failed = []
    for name in args.names or NAMES:
        program = ROOT / args.build / "bench" / name
        if not program.is_file():
            sys.exit(f"{name} is not built: see bench/run.py --help")
        if subprocess.run([program, *options]).returncode != 0:
            failed.append(name)
        print(flush=True)
    if failed:
        sys.exit(f"failed: {', '.join(failed)}")


if __name__ == "__main__":
    main()
