"""multiprocessing.resource_tracker itself: kin has none of its own."""

import sys
from multiprocessing import resource_tracker

sys.modules[__name__] = resource_tracker
