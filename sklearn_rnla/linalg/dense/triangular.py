"""Inverse triangular factors, by numpy's BLAS where they are large.

scipy comes with a BLAS of its own, whose threads go on spinning for a while after a large
call and slow the products of numpy's that follow.
"""

import numpy as np
import scipy.linalg

from ..._typing import Array

# Up to this order LAPACK's inverse runs in one thread.
_LEAF = 128


def triangular_inverse(L: Array) -> Array:
    """Return the inverse of a lower triangular matrix, by halves: products mostly.

    What is above the diagonal of `L` must be zero.
    """
    n = len(L)
    if n == 0:
        return L.copy()
    if n <= _LEAF:
        # Transposed, the rows of L are the columns that LAPACK takes.
        return scipy.linalg.lapack.dtrtri(L.T)[0].T.astype(L.dtype, copy=False)
    h = n // 2
    inverse = np.zeros_like(L)
    inverse[:h, :h] = triangular_inverse(L[:h, :h])
    inverse[h:, h:] = triangular_inverse(L[h:, h:])
    inverse[h:, :h] = -(inverse[h:, h:] @ (L[h:, :h] @ inverse[:h, :h]))
    return inverse


def inverse_cholesky(A: Array) -> Array:
    """Return the inverse of the lower Cholesky factor of A.

    Raises
    ------
    LinAlgError
        When A is not positive definite.
    """
    return triangular_inverse(np.linalg.cholesky(A))
