"""Units in which numbers can be squared."""

from __future__ import annotations

import numpy as np

from . import as_row_matrix
from .passes import squared_norm


def scale_of(x) -> float:
    """Return a power of two near the largest entry, within the range of its dtype.

    One where all entries are zero, or not all are finite.
    """
    largest = max(-x.min(), x.max())
    if not 0 < largest < np.inf:
        return 1.0
    most = np.finfo(x.dtype).maxexp - 1
    return 2.0 ** int(np.clip(np.frexp(largest)[1], -most, most))


def unit_of(A, times=2) -> float:
    """Return a power of two by which to divide a dense A, to square it that many times."""
    most = np.finfo(A.dtype).max ** 0.5**times
    with np.errstate(over="ignore", invalid="ignore"):
        squares = squared_norm(A)
    return 1.0 if 1 / most < squares < most else scale_of(A)


def in_unit(rows, penalty=0.0):
    """Return rows that can be squared, and the power of two they were divided by.

    Parameters
    ----------
    rows : RowMatrix
        Rereadable.
    penalty : float, default=0.0
        A penalty on squared coefficients, which is to be divided by the square of the unit
        and must not overflow.

    Returns
    -------
    rows : RowMatrix
        As they came where squares of the first few are in range, or where rows are lazy: no
        pass is made to find that out, unless the first are zero. Else divided, in memory.
    unit : float
    """
    head = _entries(rows.some_rows()) if not rows.lazy else np.ones(1)
    if head.any() and unit_of(head, 1) == 1:
        return rows, 1.0
    # Block by block: they may be on a disk.
    largest = [np.abs(_entries(b.values)).max(initial=0) for b in rows.blocks()]
    unit = unit_of(np.array(largest, rows.dtype), 1)
    if unit == 1:
        return rows, 1.0
    # Half way between the units of the rows and of the penalty, both are in range.
    least = scale_of(np.sqrt([penalty])) if penalty else 0.0
    if least > unit:
        unit = 2.0 ** np.rint((np.log2(unit) + np.log2(least)) / 2)
    scaled = rows.in_memory() / rows.dtype.type(unit)
    scaled = as_row_matrix(scaled, n_jobs=rows.n_jobs)
    return scaled.with_weight(rows.weight), float(unit)


def _entries(values):
    return values if isinstance(values, np.ndarray) else values.data


def held(values, dtype):
    """Return values in `dtype`, or as they are where its range does not hold them."""
    magnitudes = np.abs(values[values != 0])
    limits = np.finfo(dtype)
    holds = magnitudes.size == 0 or limits.tiny <= magnitudes.max() <= limits.max
    return values.astype(dtype) if holds else values
