"""The classes of CPython's tests for the start method forkserver: children import this."""

from cpython import tests

tests.install_tests_in_module_dict(globals(), "forkserver")
