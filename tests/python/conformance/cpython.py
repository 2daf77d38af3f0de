"""CPython's tests of multiprocessing. They try out a semaphore of the system at each import; who is killed
in that leaves its name behind: so without that."""

import test.support

test.support.skip_if_broken_multiprocessing_synchronize = lambda: None

import test._test_multiprocessing as tests  # noqa: E402, F401
