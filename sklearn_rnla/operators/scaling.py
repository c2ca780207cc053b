"""Units: powers of two by which numbers are divided so that they can be squared."""

import numpy as np

from .passes import fold_largest, larger, squared_norm


def exponent_of(largest) -> int:
    """Return the exponent of the power of two below a number that is not zero."""
    return int(np.frexp(float(largest))[1]) - 1


def scale_of(x) -> float:
    """Return a power of two near the largest entry, within the range of its dtype.

    One where all entries are zero, or not all are finite.
    """
    largest = max(-x.min(), x.max())
    if not 0 < largest < np.inf:
        return 1.0
    most = np.finfo(x.dtype).maxexp - 1
    return 2.0 ** int(np.clip(exponent_of(largest), -most, most))


def unit_of(A, times=2) -> float:
    """Return a power of two by which to divide a dense A, to square it that many times."""
    most = np.finfo(A.dtype).max ** 0.5**times
    with np.errstate(over="ignore", invalid="ignore"):
        squares = squared_norm(A)
    return 1.0 if 1 / most < squares < most else scale_of(A)


def column_scales(A):
    """Return a power of two near the largest entry of each column, one where it is zero."""
    largest = np.abs(A).max(axis=0, initial=0.0)
    return np.where(largest > 0, np.exp2(np.frexp(largest)[1] - 1.0), 1.0)


def refuse_overflow(name, largest, most, made):
    """Raise ValueError where entries, of `name`, are too large for what is `made` of them.

    Parameters
    ----------
    name : str
    largest : float
        Magnitude of the largest entry.
    most : float
        Up to which nothing overflows.
    made : str
        Such as "sums".
    """
    if largest > most:
        raise ValueError(
            f"Entries of {name} are as large as {largest:.3g}, and {made} of such numbers "
            "overflow: scale them down."
        )


def is_in_range(squares, dtype) -> bool:
    """Whether a squared norm leaves room for its own square, and for rounding's.

    Fourth powers of singular values must not overflow. Squared residuals that are rounding,
    1e-14 of the norm to the fourth in single precision, must not underflow.
    """
    most = float(np.finfo(dtype).max)
    return most**-0.25 < squares < most**0.5


def safe_exponent(rows) -> int:
    """Return the exponent of a unit for rows, as a few of them tell; 0 for their own."""
    some = rows.some_rows()
    values = _entries(some)
    largest = float(np.abs(values).max(initial=0.0))
    if not 0 < largest < np.inf:
        return 0
    # In units of the largest: squares of the values may not be in range.
    squares = float(np.sum((values / largest).astype(np.float64) ** 2))
    n_some = max(1, some.shape[0])
    squares *= (rows.shape[0] or n_some) / n_some
    with np.errstate(over="ignore"):
        fits = is_in_range(squares * np.float64(largest) ** 2, rows.dtype)
    return 0 if fits else exponent_of(largest)


def in_safe_unit(rows):
    """Return rows in a unit, as a few of them tell, in which squares are in range."""
    exponent = safe_exponent(rows)
    return rows.in_unit(rows.exponent + exponent) if exponent else rows


def in_unit_of_largest(rows):
    """Return rows in units of their largest entry, which a pass finds."""
    (largest,) = rows.fold(fold_largest, combine=larger)
    if not 0 < largest < np.inf:
        return rows
    return rows.in_unit(rows.exponent + exponent_of(largest))


def in_unit(rows, penalty=0.0):
    """Return rows that can be squared, and the power of two they are divided by.

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
        pass is made to find that out, unless the first are zero. Else a view of them.
    unit : float
    """
    head = _entries(rows.some_rows()) if not rows.lazy else np.ones(1)
    if head.any() and unit_of(head, 1) == 1:
        return rows, 1.0
    largest = np.array(rows.fold(fold_largest, combine=larger), rows.dtype)
    unit = unit_of(largest, 1)
    if unit == 1:
        return rows, 1.0
    # Half way between the units of the rows and of the penalty, both are in range.
    least = scale_of(np.sqrt([penalty])) if penalty else 0.0
    if least > unit:
        unit = 2.0 ** np.rint((np.log2(unit) + np.log2(least)) / 2)
    return rows.in_unit(rows.exponent + exponent_of(unit)), float(unit)


def _entries(values):
    return values if isinstance(values, np.ndarray) else values.data


def held(values, dtype):
    """Return values in `dtype`, or as they are where its range does not hold them."""
    magnitudes = np.abs(values[values != 0])
    limits = np.finfo(dtype)
    holds = magnitudes.size == 0 or limits.tiny <= magnitudes.max() <= limits.max
    return values.astype(dtype) if holds else values
