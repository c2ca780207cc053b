"""Block Krylov iteration on both sides of a matrix in memory."""

from collections.abc import Callable
from contextlib import suppress
from typing import Any, NamedTuple

import numpy as np

from ..._typing import Array
from ...operators import passes
from ..dense.orth import complete_rows, orthonormal_rows, product64
from ..dense.ritz import RitzBasis, bordered, descending_eigh, krylov_steps
from ..dense.triangular import inverse_cholesky
from .starts import coarse_rows, n_random

# What is lacking is at least this share of the last gain, and this many times what it
# would be if gains fell by a constant factor.
_LEAST_SHARE = 0.05
_SAFETY = 2.5

# Rows whose norms are found at a time.
_ROWS = 1024

# Squared norms within this many eps of the largest, or of all, are lost in rounding.
_LOST = 10

# A share of the energy within this many eps is a difference of rounding errors.
_LOST_TAIL = 100

# Energies this far below the largest cost digits of the other factor: it is computed from
# the orthonormal one by another product.
_ACCURATE = 1e-3


class TwoSidedSVD(NamedTuple):
    """Leading singular triplets.

    Attributes
    ----------
    U : ndarray of shape (n_rows, k)
        Orthonormal columns.
    singular_values : ndarray of shape (k,)
        In decreasing order.
    Vt : ndarray of shape (k, n_columns)
        Orthonormal rows.
    error_estimate : float
        In the unit of `error_of`.
    converged : bool
        Whether it is within the tolerance.
    n_passes : int
        Products with the matrix and its transpose.
    """

    U: np.ndarray
    singular_values: np.ndarray
    Vt: np.ndarray
    error_estimate: float
    converged: bool
    n_passes: int


def two_sided_krylov(
    A: Array,
    k: int,
    width: int,
    *,
    tol: float,
    error_of: Callable[..., Any],
    max_passes: int,
    rng: np.random.Generator,
) -> TwoSidedSVD | None:
    """Find the leading singular triplets of a dense matrix.

    Parameters
    ----------
    A : ndarray of shape (n_rows, n_columns)
    k : int
        Number of triplets wanted.
    width : int
        Vectors iterated, at least k.
    tol : float
        Error at which to stop.
    error_of : callable
        ``error_of(lacking, captured)`` returns the error where so much of the energy (sum
        of squares) of the best rank k is lacking and captured, as shares of that of A.
    max_passes : int
        Most passes to make, at least 2.
    rng : Generator

    Returns
    -------
    TwoSidedSVD or None
        None where fewer than k singular values stand out of rounding, or what they leave
        does not.

    Raises
    ------
    ValueError
        When A has NaN, infinity, or values too large to be squared.

    Notes
    -----
    `block_krylov` in the coordinates of the left factor: what a pass has of them, ``A
    V^T``, is kept, so that the last step needs no pass of its own, and is half a power
    further. Memory for that of up to `ritz.MAX_BLOCKS` passes. What is lacking is estimated
    from the gains of each Ritz value in the last pass, on either side, of which one is half
    a step ahead of the other; in the worst case, a spectrum without decay, it converges as
    the square of the passes (Musco & Musco 2015).
    """
    if A.shape[0] < A.shape[1]:
        # Products aside, most work is on right vectors: let them be the short ones.
        options = {"tol": tol, "error_of": error_of, "max_passes": max_passes, "rng": rng}
        found = two_sided_krylov(A.T, k, width, **options)
        return None if found is None else found._replace(U=found.Vt.T, Vt=found.U.T)
    of_rows = _row_energies(A)
    squared_norm = float(of_rows.sum())
    passes.check_finite(squared_norm, A.dtype)
    if not squared_norm > 0:
        return None
    # Fourth powers of singular values are to come: keep them in range.
    scale = float(np.sqrt(squared_norm))
    eps = float(np.finfo(A.dtype).eps)

    def multiply(block):
        halfway = (block / scale) @ A.T
        image = halfway @ A
        image /= scale
        return halfway, image

    basis = TwoSidedBasis(width, A.dtype)
    energies, error = _Energies(right=np.zeros(k), left=np.zeros(k)), np.inf
    start = coarse_rows(A, of_rows, max(k, width - n_random(width, k)), scale, rng)
    start = complete_rows(start, max(width, min(k + 1, A.shape[1])), rng)
    steps = krylov_steps(basis, start, multiply)
    for n_passes, step in enumerate(steps, 1):
        left, C = basis.left_ritz(k)
        if len(left) < k:
            return None
        before, energies = energies, _Energies(basis.right_energies(k), left)
        captured = float(left.sum())
        if 1 - captured <= _LOST_TAIL * eps:
            return None
        if n_passes > 1:
            lacking = _lacking(before, energies, n_passes)
            error = _error(error_of, lacking, captured, eps)
            if error <= tol or lacking <= eps * captured:
                break
        if n_passes == max_passes:
            break
        # Residuals would need right Ritz vectors, which are of no other use here. What the
        # products add to the basis spans the same.
        step.residuals = basis.latest
    else:
        error = _error(error_of, 0.0, captured, eps)
    C = C.astype(A.dtype)
    images = C @ basis.images if left[-1] > _ACCURATE * left[0] else None
    U, s, Vt = _rotated(A, C @ basis.halfway, images, scale)
    error = float(error)
    return TwoSidedSVD(U, s, Vt, error, converged=error <= tol, n_passes=n_passes)


def _row_energies(A):
    """Return the squared norms of the rows, summed in float64 over parts of them."""
    energies = np.zeros(len(A))
    if A.flags.c_contiguous:
        for a in range(0, len(A), _ROWS):
            part = A[a : a + _ROWS]
            energies[a : a + _ROWS] = np.einsum("ij,ij->i", part, part)
        return energies
    for a in range(0, A.shape[1], _ROWS):
        part = A[:, a : a + _ROWS]
        energies += np.einsum("ij,ij->i", part, part)
    return energies


class _Energies(NamedTuple):
    """Squares of the k leading singular values after a pass, as shares of that of A.

    Attributes
    ----------
    right, left : ndarray of shape (k,)
        As the right vectors capture them, and half a power later the left ones.
    """

    right: np.ndarray
    left: np.ndarray


def _error(error_of, lacking, captured, eps):
    return error_of(lacking + _LOST * eps * captured, captured)


def _lacking(before, after, n_passes):
    """Return what the passes to come would gain, given energies before and after the last.

    The left side is half a pass ahead of the right one, so that the ratio of their gains
    tells how fast the gains of a value fall. Were that ratio constant, the gains to come
    would be a geometric series. In the worst case the error falls as the square of the
    passes (Musco & Musco 2015), so that their sum is the last gain times half the passes.
    """
    if n_passes == 1:
        # What the first pass gained says how good the start was, and no more.
        return np.inf
    most = n_passes / 2
    half_before = np.maximum(after.right - before.right, 0.0)
    gained = np.maximum(after.left - before.left, 0.0)
    ratios = gained / np.maximum(half_before, np.finfo(np.float64).tiny)
    ratios = np.minimum(ratios, 1.0) ** 2
    shares = _SAFETY * ratios / np.maximum(1 - ratios, _SAFETY / most * ratios)
    return float(gained @ np.maximum(shares, _LEAST_SHARE))


class TwoSidedBasis(RitzBasis):
    """Orthonormal rows V, and their products ``Y = V A^T`` and ``Z = Y A``.

    The basis of an iteration on ``A^T A`` that keeps what lies halfway, too: Y spans a
    Krylov space of ``A A^T``, half a power further than V.

    Attributes
    ----------
    halfway : ndarray of shape (q, n_rows)
        Y. As other `RitzBasis`, it has V as `vectors` and Z as `images`.
    latest : ndarray of shape (l, n_columns)
        Rows of Z of the latest block.
    H, K : ndarray of shape (q, q)
        Gram matrices of the rows of Y, and of Z, in float64. H is the projection of ``A^T
        A`` on V, but unlike ``V Z^T`` definite to the rounding of its own small values.
    """

    def clear(self) -> None:
        """Forget all vectors."""
        super().clear()
        self.K: Any = self.H

    @property
    def halfway(self) -> Array:
        """The product halfway."""
        return self._rows[1]

    def add(self, block: Array, halfway: Array, image: Array) -> None:
        """Add a block of rows and its products."""
        self._append(block, halfway, image)
        self.H = _extended(self.H, self.halfway, halfway)
        self.K = _extended(self.K, self.images, image)
        self.latest = image

    def _keep(self, values, coefficients):
        super()._keep(values, coefficients)
        self.K = coefficients @ self.K @ coefficients.T

    def left_ritz(self, k: int) -> tuple[Array, Array]:
        """Return captured energies, and rows C such that those of C Y are orthonormal.

        Of the span of the rows of Y, C Y are the k leading left vectors of A; fewer where
        others are lost in rounding.
        """
        T = self._whitening()
        values, vectors = descending_eigh(T @ self.K @ T.T)
        return values[:k], vectors[:k] @ T

    def right_energies(self, k: int) -> Array:
        """Return the energies that the k leading right vectors in the span of V capture."""
        return np.linalg.eigvalsh(self.H)[: -k - 1 : -1]

    def _whitening(self):
        """Return T such that the rows of T Y are orthonormal."""
        lost = _LOST * np.finfo(self.dtype).eps
        with suppress(np.linalg.LinAlgError):
            T = inverse_cholesky(self.H)
            # The trace of the inverse bounds the least eigenvalue.
            if np.sum(T * T) * np.trace(self.H) * lost < 1:
                return T
        values, vectors = descending_eigh(self.H)
        kept = values > lost * values[0]
        return vectors[kept] / np.sqrt(values[kept])[:, np.newaxis]


def _extended(gram, rows, fresh):
    """Return the Gram matrix of `rows`, given that of all before the last, `fresh`."""
    products = product64(fresh, rows)
    known = len(gram)
    return bordered(gram, products[:, :known].T, products[:, known:])


def _rotated(A, Ut, images, scale):
    """Return U, s and V^T of ``Q^T (Q A)``, where Q are orthonormal rows of those of Ut.

    They are nearly so already, and `images` is ``Ut A / scale``, if it is accurate.
    """
    if images is None:
        Q = orthonormal_rows(Ut)
        B = Q @ A
        B /= scale
    else:
        to_orthonormal = inverse_cholesky(product64(Ut, Ut)).astype(A.dtype)
        Q, B = to_orthonormal @ Ut, to_orthonormal @ images
    # The rows of accurate images are nearly orthogonal.
    basis = orthonormal_rows(B, n_rounds=2 if images is None else 1)
    left, s, right = np.linalg.svd(product64(B, basis), full_matrices=False)
    left, right = left.astype(A.dtype), right.astype(A.dtype)
    return (left.T @ Q).T, (scale * s).astype(A.dtype), right @ basis
