"""multiprocessing.util itself: kin has none of its own."""

import sys
from multiprocessing import util

sys.modules[__name__] = util
