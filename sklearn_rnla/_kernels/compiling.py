"""Compilation of loops, kept on disk where there is a place for it."""

import logging
from contextlib import suppress

import numba
from numba.core.caching import FunctionCache

_logger = logging.getLogger(__name__)


class _Cache(FunctionCache):
    """Compiled loops on disk, of which those that cannot be read are made again."""

    def load_overload(self, sig, target_context):
        loaded = None
        try:
            loaded = super().load_overload(sig, target_context)
        except Exception:
            # A file was cut short, or is of another version: unpickling raises whatever.
            self.flush()
        if loaded is None:
            message = "Compiling %s, once for each dtype. The result is kept in %s."
            _logger.info(message, self._py_func.__name__, self.cache_path)
        return loaded

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
        and no ``NUMBA_CACHE_DIR`` is set, the function is compiled in each process. The log
        says so, and what is compiled, at level INFO.
    """

    def decorate(function):
        dispatcher = numba.njit(**options)(function)
        try:
            dispatcher._cache = _Cache(function)
        except (RuntimeError, OSError):
            # That is what numba raises where it finds no place for the files.
            message = "%s is compiled in each process: set NUMBA_CACHE_DIR to keep it."
            _logger.info(message, function.__name__)
        return dispatcher

    return decorate
