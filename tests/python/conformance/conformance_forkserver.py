"""The classes of CPython's tests for the start method forkserver: children import this."""

import test._test_multiprocessing as tests

tests.install_tests_in_module_dict(globals(), "forkserver")
