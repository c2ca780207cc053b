"""Units in which numbers can be squared."""

from __future__ import annotations

import numpy as np

from ..operators.passes import squared_norm


def scale_of(x) -> float:
    """Return a power of two near the largest entry, within the range of its dtype.

    One where all entries are zero, or not all are finite.
    """
    largest = max(-x.min(), x.max())
    if not 0 < largest < np.inf:
        return 1.0
    most = np.finfo(x.dtype).maxexp - 1
    return 2.0 ** int(np.clip(np.frexp(largest)[1], -most, most))


def unit_of(A) -> float:
    """Return a power of two by which to divide a dense A, to square it twice."""
    most = np.finfo(A.dtype).max ** 0.25
    with np.errstate(over="ignore", invalid="ignore"):
        squares = squared_norm(A)
    return 1.0 if 1 / most < squares < most else scale_of(A)
