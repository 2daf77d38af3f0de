"""multiprocessing that survives kills: ``import kin as mp``.

Locks, queues and pipes are kin's, in one shared memory of the process tree; what kin does not
replace is the standard library's own object.
"""

import multiprocessing
import multiprocessing.connection
from multiprocessing import process, reduction, util

from . import connection, context, queues, synchronize
from ._kin import ShutDown
from .named import open

__version__ = "0.1.0"

__all__ = [name for name in dir(context._default_context) if not name.startswith("_")]
globals().update((name, getattr(context._default_context, name)) for name in __all__)
__all__ += ["ShutDown", "install", "open"]


def install():
    """Put kin in the place of multiprocessing for every import that follows.

    SharedMemory and ShareableList are kin's then; managers and the classes of the other submodules
    stay the standard library's, and so does what was imported before.
    """
    for name in multiprocessing.__all__:
        setattr(multiprocessing, name, globals()[name])
    multiprocessing.connection.Pipe = connection.Pipe
    from multiprocessing import shared_memory as replaced

    from . import shared_memory

    for name in shared_memory.__all__:
        setattr(replaced, name, getattr(shared_memory, name))
