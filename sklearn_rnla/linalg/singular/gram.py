"""Exact right singular vectors from a Gram matrix, and what squaring loses of them."""

from typing import NamedTuple

import numpy as np
import scipy.linalg

from ...operators.moments import Moments, shift_rows
from ...operators.rows import BLOCK_BYTES
from ..dense.orth import complete_rows, orthonormal_rows
from ..dense.rank import numerical_rank
from ..dense.ritz import descending_eigh
from .row_gram import WideSparse

# Below this size LAPACK's solver for all eigenvectors is faster than the one for some.
_SUBSET_SIZE = 100

# More values than are asked for: they tell how much is left where that is a difference of
# rounding errors.
_MARGIN = 8

# Squared singular values this close to the squared rounding error of the largest come
# from a QR factor instead of a Gram matrix: 1e-4 is then their relative accuracy at least.
_SQUARING_LIMIT = 1e4

# Squared singular values within this many eps of the largest are lost in a Gram matrix,
# and with them their vectors.
_LOST_LIMIT = 1e2


class RightSVD(NamedTuple):
    """Leading singular values and right singular vectors.

    Attributes
    ----------
    singular_values : ndarray of shape (l,)
        In decreasing order, float64.
    components : ndarray of shape (l, n_features)
        Orthonormal rows.
    error_estimate : float
        Estimated excess Frobenius error: ``||A - A V^T V||_F`` of the leading k, over that
        of the best rank k, less one.
    converged : bool
        Whether the estimate is within the tolerance.
    stalled : bool
        Whether it is not, but more passes would be rounding: then it is lost as well.
    lost : bool
        Whether all the rest of the matrix is lost in the rounding of squares, and with it
        the last of these: see `deflated_svd`. Only those above it are returned then.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_rnla.linalg import one_view_svd
    >>> blocks = (np.full((10, 8), float(i)) for i in range(3))
    >>> result = one_view_svd(blocks, 1, random_state=0)
    >>> result.components.shape
    (1, 8)
    >>> result.converged
    True
    """

    singular_values: np.ndarray
    components: np.ndarray
    error_estimate: float
    converged: bool
    stalled: bool = False
    lost: bool = False


def squaring_loses(squared_values, k, dtype, limit=_SQUARING_LIMIT) -> bool:
    """Whether the k-th squared singular value drowns in the rounding of the first."""
    eps = np.finfo(dtype).eps
    return bool(squared_values[k - 1] < limit * eps * squared_values[0])


def refine_values(A, V):
    """Return singular values of ``A V^T`` and V rotated to them, by a QR pass."""
    _, s, rotation = np.linalg.svd(A.triangular_factor(V))
    return s, rotation.astype(V.dtype) @ V


def accurate_values(A, squared_values, V, k):
    """Return singular values and vectors, by one more pass where squaring loses them.

    Given those of the Gram matrix, of which the first k are wanted.
    """
    if squaring_loses(squared_values, min(k, len(squared_values)), A.dtype):
        return refine_values(A, V)
    return np.sqrt(np.maximum(squared_values, 0.0)), V


def storage_excess(s, tail, dtype) -> float:
    """Return the excess error of rounding the vectors that belong to s: eps at least.

    The error of an entry, relative to itself, is taken as uniform up to half of eps.
    """
    eps = float(np.finfo(dtype).eps)
    lacking = eps**2 / 12 * float(s @ s)
    return max(eps, float(np.sqrt(1 + lacking / tail)) - 1) if tail > 0 else eps


def subset_share(k, n) -> float:
    """Return what the k leading eigenvectors take, as a share of what all n do.

    LAPACK's solver for some is the faster one up to a share of them that grows with n:
    measured .14 at n = 128, .16 at 256, .23 at 520, .30 at 784, .36 at 1024. Of one vector
    it takes .3.
    """
    return min(1.0, 0.3 + 0.7 * k / (n * min(0.4, 0.1 + n / 4000)))


def leading_eigh(H, k):
    """Return the k leading eigenvalues, or all, and their eigenvectors as rows."""
    n = len(H)
    if n < _SUBSET_SIZE or subset_share(k, n) == 1:
        return descending_eigh(H)
    values, vectors = scipy.linalg.eigh(
        H, subset_by_index=[n - k, n - 1], overwrite_a=True, check_finite=False
    )
    return values[::-1], np.ascontiguousarray(vectors[:, ::-1].T)


def gram_svd(A, k, *, rng):
    """Compute the leading k right singular vectors of `A` exactly.

    Parameters
    ----------
    A : CenteredMatrix
    k : int
        At most ``min(A.shape)``.
    rng : Generator
        Completes the basis where k exceeds the rank.

    Returns
    -------
    RightSVD
        Of k triplets or more.

    Notes
    -----
    Tall: the n x n Gram matrix in one pass, n_rows n_features^2 flops. Wide and in memory:
    that of the rows, n_rows^2 n_features flops, fewer where rows are sparse (see
    `WideSparse`). Singular values that squaring loses are recovered from a QR factor: of
    ``A V^T``, or, where the vectors are lost as well, of A itself; not for a stream, which
    cannot be read again.
    """
    n_rows, n_features = A.shape
    wide = n_rows is not None and n_rows < n_features and hasattr(A.rows, "values")
    solve = (_wide_sparse if A.rows.sparse else _wide) if wide else _tall
    s, V = solve(A, k)
    total = A.moments.squared_norm
    if len(V) < k:
        V = complete_rows(V.astype(A.dtype), k, rng)
        s = np.concatenate([s, np.zeros(k - len(s))])
    eps = float(np.finfo(A.dtype).eps)
    rest = total - float(np.sum(s[:k] ** 2))
    # The difference, unless it is rounding.
    tail = rest if rest > _LOST_LIMIT * eps * total else float(np.sum(s[k:] ** 2))
    excess = storage_excess(s[:k], tail, A.dtype)
    return RightSVD(s[: len(V)], V, error_estimate=excess, converged=True)


def _tall(A, k):
    """Return at least the k leading singular values that are not zero, from A^T A."""
    H = A.gram()
    scale = np.trace(H)
    if scale <= 0:
        return np.zeros(0), np.zeros((0, len(H)))
    margin = min(len(H), k + _MARGIN)
    values, V = _with_margin(H, k, A.dtype)
    if not A.rows.rereadable:
        s = np.sqrt(np.maximum(values, 0.0))
    elif squaring_loses(values, min(k, len(values)), A.dtype, _LOST_LIMIT):
        s, V = _reached(*np.linalg.svd(A.triangular_factor(), full_matrices=False)[1:])
    else:
        s, V = accurate_values(A, values, V.astype(A.dtype), k)
    return s[:margin], V[:margin].astype(A.dtype)


def _with_margin(H, k, dtype):
    """Return the k leading eigenpairs, and more where the rest is lost in rounding."""
    values, V = leading_eigh(H, k)
    rest = np.trace(H) - values[:k].sum()
    if k < len(H) and rest <= _LOST_LIMIT * np.finfo(dtype).eps * np.trace(H):
        return leading_eigh(H, min(len(H), k + _MARGIN))
    return values, V


def _reached(s, V):
    """Leave out what is lost in rounding: the caller's completion is canonical."""
    rank = numerical_rank(s, V.shape)
    return s[:rank], V[:rank]


def _wide(A, k):
    """Return the k leading singular values that are not zero, or more, from A A^T."""
    B, H = _rows_and_gram(A)
    values, U = _with_margin(H, k, A.dtype)
    least = min(values[min(k, len(values)) - 1], np.trace(H) - values[:k].sum())
    if A.dtype != np.float64 and squaring_loses([values[0], least], 2, A.dtype):
        # Rounding in single precision, as a share of what is left, counts as well.
        B = A.dense()
        values, U = _with_margin(B @ B.T, k, np.float64)
    if values[0] <= 0:
        return np.zeros(0), np.zeros((0, B.shape[1]))
    if squaring_loses(values, min(k, len(values)), np.float64):
        s, V = scipy.linalg.svd(A.dense(), full_matrices=False, check_finite=False)[1:]
        s, V = _reached(s, V)
        margin = min(len(B), k + _MARGIN)
        return s[:margin], V[:margin].astype(A.dtype)
    s = np.sqrt(np.maximum(values, 0.0))
    return s, orthonormal_rows(U[:k].astype(B.dtype) @ B).astype(A.dtype, copy=False)


def _rows_and_gram(A):
    """Return the rows, weighted, about a point near them, and ``A A^T``, in one pass.

    To centre the rows, the Gram matrix is: its eigenvectors have no part along the weights,
    where the rows differ from the centred ones.
    """

    # What is not finite shows in the moments.
    @np.errstate(invalid="ignore", over="ignore")
    def fold(shift):
        B, weight = shift_rows(A.rows.in_memory(), shift), A.rows.weight
        root = np.ones(len(B)) if weight is None else np.sqrt(weight)
        root = root.astype(A.dtype, copy=False)
        B = B if weight is None else B * root[:, np.newaxis]
        H, sums = _row_gram(B), (root @ B).astype(np.float64)
        total = float(np.sum(root**2, dtype=np.float64))
        A.count_pass()
        return [B, H, root, Moments(total, sums, float(np.trace(H)), shift)]

    B, H, root, moments = A.uncopied(fold)
    A.set_moments(moments)
    if A.center:
        unit = root.astype(np.float64) / np.sqrt(moments.total_weight)
        along = H @ unit
        along -= unit * (unit @ along) / 2
        H -= np.outer(along, unit)
        H -= np.outer(unit, along)
    return B, H


def _row_gram(B):
    """Return ``B B^T`` in float64, summed in the precision of B over a few columns only."""
    size = B.shape[1]
    if B.dtype != np.float64:
        size = max(1, BLOCK_BYTES // (B.itemsize * len(B)))
    H = np.zeros((len(B), len(B)))
    for start in range(0, B.shape[1], size):
        part = B[:, start : start + size]
        H += part @ part.T
    return H


def _wide_sparse(A, k):
    """Return what `_wide` does, without a dense copy of sparse rows."""
    B = WideSparse(A)
    margin = min(A.shape[0], k + _MARGIN)
    values, U = leading_eigh(B.gram(), margin)
    if values[0] <= 0:
        return np.zeros(0), np.zeros((0, A.shape[1]))
    if squaring_loses(values, min(k, len(values)), np.float64):
        s, U = _reached(*scipy.linalg.svd(B.triangular_factor(), check_finite=False)[1:])
    else:
        s = np.sqrt(np.maximum(values, 0.0))
    return s[:margin], B.right_vectors(s[:k], U[:k])
