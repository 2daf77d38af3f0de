"""multiprocessing.managers itself: kin has none of its own."""

import sys
from multiprocessing import managers

sys.modules[__name__] = managers
