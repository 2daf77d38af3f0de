"""The server of forkserver imports this first, so what it preloads finds kin as multiprocessing."""

from . import install

__all__ = ()

install()
