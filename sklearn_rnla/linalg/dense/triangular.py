"""Inverse triangular factors, by numpy's BLAS alone.

scipy comes with a BLAS of its own, whose threads go on spinning for a while after a large
call and slow the products of numpy's that follow.
"""

from __future__ import annotations

import numpy as np

# LAPACK's inverse does three times the work that a triangle needs: of small ones only.
_LEAF = 32


def triangular_inverse(L):
    """Return the inverse of a lower triangular matrix, by halves: products mostly."""
    n = len(L)
    if n <= _LEAF:
        return np.tril(np.linalg.inv(L))
    h = n // 2
    inverse = np.zeros_like(L)
    inverse[:h, :h] = triangular_inverse(L[:h, :h])
    inverse[h:, h:] = triangular_inverse(L[h:, h:])
    inverse[h:, :h] = -(inverse[h:, h:] @ (L[h:, :h] @ inverse[:h, :h]))
    return inverse


def inverse_cholesky(A):
    """Return the inverse of the lower Cholesky factor of A.

    Raises
    ------
    LinAlgError
        When A is not positive definite.
    """
    return triangular_inverse(np.linalg.cholesky(A))
