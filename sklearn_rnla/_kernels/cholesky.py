"""Cholesky factors of small matrices, for other loops to call.

Of a matrix of shape (d, d) or larger, the leading d rows and columns count, and the lower
triangle. The diagonal of a factor is kept inverted: no loop divides.
"""

import numpy as np

from .compiling import njit
from .observed import FAST

INLINE = {
    "nogil": True,
    "cache": True,
    "fastmath": FAST | {"afn"},
    "error_model": "numpy",
}


@njit(**INLINE)
def factor(A, d):
    """Overwrite A by its Cholesky factor C."""
    for a in range(d):
        row = A[a]
        for c in range(a):
            other = A[c]
            s = row[c]
            for e in range(c):
                s -= row[e] * other[e]
            row[c] = s * other[c]
        s = row[a]
        for e in range(a):
            s -= row[e] * row[e]
        # What rounding leaves of a direction without entries or a prior gets nothing.
        row[a] = 1 / np.sqrt(s) if s > 0 else 0.0


@njit(**INLINE)
def solve(C, d, b):
    """Overwrite b by ``C^-1 b``."""
    for a in range(d):
        row = C[a]
        s = b[a]
        for e in range(a):
            s -= row[e] * b[e]
        b[a] = s * row[a]


@njit(**INLINE)
def solve_transposed(C, d, b):
    """Overwrite b by ``C^-T b``."""
    for a in range(d - 1, -1, -1):
        row = C[a]
        s = b[a] * row[a]
        b[a] = s
        for e in range(a):
            b[e] -= row[e] * s
