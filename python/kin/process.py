"""multiprocessing.process itself: kin has none of its own."""

import sys
from multiprocessing import process

sys.modules[__name__] = process
