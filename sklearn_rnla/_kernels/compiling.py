"""Compilation of loops, kept on disk where there is a place for it."""

from contextlib import suppress

import numba
from numba.core.caching import FunctionCache


class _Cache(FunctionCache):
    """Compiled loops on disk, of which those that cannot be read are made again."""

    def load_overload(self, sig, target_context):
        try:
            return super().load_overload(sig, target_context)
        except Exception:
            # A file was cut short, or is of another version: unpickling raises whatever.
            self.flush()
            return None

    def save_overload(self, sig, data):
        # Where the disk is full, or no longer writable, what was compiled runs anyway.
        with suppress(OSError):
            super().save_overload(sig, data)


def njit(**options):
    """Decorate a function that is compiled at its first call, and kept on disk.

    Parameters
    ----------
    **options : dict
        Those of `numba.njit`, without ``cache``.

    Returns
    -------
    callable
        The decorator. Where neither the package nor the home of the user can be written,
        and no ``NUMBA_CACHE_DIR`` is set, the function is compiled in each process.
    """

    def decorate(function):
        dispatcher = numba.njit(**options)(function)
        # That is what numba raises where it finds no place for the files.
        with suppress(RuntimeError, OSError):
            dispatcher._cache = _Cache(function)
        return dispatcher

    return decorate
