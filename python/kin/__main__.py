"""python -m kin [-m module | -c command | script.py] args: a program with kin as multiprocessing."""

import runpy
import sys

import kin


def main():
    """Install kin, then run the program as the interpreter would."""
    arguments = sys.argv[1:]
    if not arguments or arguments[0] in ("-h", "--help"):
        print(__doc__, file=sys.stderr)
        return 0 if arguments else 2
    if arguments[0] in ("-m", "-c") and len(arguments) < 2:
        print(f"kin: argument expected for {arguments[0]}", file=sys.stderr)
        return 2
    kin.install()
    if arguments[0] == "-m":
        sys.argv = arguments[1:]
        runpy.run_module(arguments[1], run_name="__main__", alter_sys=True)
    elif arguments[0] == "-c":
        sys.argv = ["-c"] + arguments[2:]
        module = type(sys)("__main__")
        sys.modules["__main__"] = module
        exec(compile(arguments[1], "<string>", "exec"), module.__dict__)
    else:
        sys.argv = arguments
        sys.path[0] = __import__("os").path.dirname(__import__("os").path.abspath(arguments[0]))
        runpy.run_path(arguments[0], run_name="__main__")
    return 0


if __name__ == "__main__":
    sys.exit(main())
