"""python -m kin [-m module | -c command | script.py | -] args: a program with kin as multiprocessing."""

import builtins
import os
import pkgutil
import runpy
import sys
import types
from importlib.machinery import BuiltinImporter, SourceFileLoader, SourcelessFileLoader

import kin


def _new_main(loader=None):
    """The program's module. It stays __main__ until the interpreter ends.

    Threads and exit handlers that outlive the last line of the program pickle its functions, and
    start processes that import it. Children that are started anew send objects as __mp_main__'s.
    """
    module = types.ModuleType("__main__")
    module.__builtins__, module.__loader__ = builtins, loader
    sys.modules["__main__"] = sys.modules["__mp_main__"] = module
    return module


def _search_first(folder):
    if not sys.flags.safe_path:
        sys.path[0] = folder


def _run_text(text, name):
    _search_first("")
    exec(compile(text, name, "exec"), vars(_new_main(BuiltinImporter)))


def _run_file(path, where):
    _search_first(os.path.dirname(os.path.realpath(path)))
    if path.endswith(".pyc"):
        loader = SourcelessFileLoader("__main__", where)
        code = loader.get_code("__main__")
    else:
        loader = SourceFileLoader("__main__", where)
        code = compile(loader.get_data(where), where, "exec")
    module = _new_main(loader)
    module.__file__, module.__cached__ = where, None
    exec(code, vars(module))


def _run_script(path):
    """A file, or a folder or an archive with a __main__.py."""
    where = os.path.join(os.getcwd(), path)
    if pkgutil.get_importer(path) is not None:
        sys.path[: not sys.flags.safe_path] = [where]
        _new_main()
        runpy._run_module_as_main("__main__", alter_argv=False)
        return
    try:
        open(path).close()
    except OSError as error:
        text = f"can't open file {where!r}: [Errno {error.errno}] {error.strerror}"
        print(f"{sys.executable}: {text}", file=sys.stderr)
        sys.exit(2)
    _run_file(path, where)


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
    sys.argv = arguments
    if arguments[0] == "-m":
        sys.argv = arguments[1:]
        _new_main()
        runpy._run_module_as_main(arguments[1])
    elif arguments[0] == "-c":
        sys.argv = ["-c"] + arguments[2:]
        _run_text(arguments[1], "<string>")
    elif arguments[0] == "-":
        _run_text(sys.stdin.read(), "<stdin>")
    else:
        _run_script(arguments[0])
    return 0


if __name__ == "__main__":
    sys.exit(main())
