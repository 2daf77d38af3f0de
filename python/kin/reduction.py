"""multiprocessing.reduction itself: kin has none of its own."""

import sys
from multiprocessing import reduction

sys.modules[__name__] = reduction
