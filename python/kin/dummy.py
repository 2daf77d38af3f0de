"""multiprocessing.dummy itself: kin has none of its own."""

import sys
from multiprocessing import dummy

sys.modules[__name__] = dummy
