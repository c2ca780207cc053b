"""One-view SVD: what is kept of a matrix that is read once, block by block."""

import numpy as np
import scipy.linalg

from ...operators import passes
from ...operators.moments import shift_rows
from ...operators.rows import add_states
from ...sketching import Gaussian, SparseSign
from ..dense.orth import complete_rows, orthonormal_rows
from ..dense.rank import numerical_rank
from .gram import RightSVD

# Columns of a sketch over rows, whose number a stream does not tell in advance.
_UNBOUNDED = 2**62

# Standard deviations by which the probe may have missed what the range lacks: one-sided,
# it does so in one of twenty draws.
_MARGIN = 1.645

# Sums of squares are known to so many roundings of the whole.
_ROUNDINGS = 100


def fold_sketches(state, block, Rt, probe, shift):
    """Fold ``Y^T B``, ``Y^T Y`` and the sum of Y's rows, with ``Y = B R^T``; and a probe.

    B are the weighted rows about `shift`. Sums of squares are in float64: single
    precision data keep all their digits then.

    State: those three, the probe of B and of a column of ones, the moments.
    """
    values, weight = shift_rows(block.values, shift), block.weight
    Y = np.asarray(values @ Rt, dtype=np.float64)
    values = values.astype(np.float64, copy=False)
    if weight is not None:
        weight = weight.astype(np.float64)
    moments = passes.block_moments(values, weight, shift)
    weighted = Y if weight is None else Y * weight[:, np.newaxis]
    ones = np.ones((len(Y), 1))
    part = [(values.T @ weighted).T, Y.T @ weighted, weighted.sum(axis=0)]
    if weight is not None:
        ones = np.sqrt(weight)[:, np.newaxis]
        values = passes.scale_rows(values, ones)
    part += [probe.apply(values, block.start), probe.apply(ones, block.start), moments]
    return add_states(state, part)


def one_view_right_svd(A, k, *, rng):
    """Compute leading right singular vectors of `A` in one pass.

    Parameters
    ----------
    A : CenteredMatrix
    k : int
        Number wanted.
    rng : Generator

    Returns
    -------
    RightSVD
        Of k triplets.

    Notes
    -----
    With a random R of 4 k + 1 orthonormal rows and an orthonormal basis Q of the range of
    ``A R^T``, ``(A R^T)^T A`` and ``(A R^T)^T A R^T`` give ``Q^T A``: the Nystroem
    approximation of ``A^T A`` (Tropp, Yurtsever, Udell & Cevher 2017). It finds what the
    randomized SVD of Halko, Martinsson & Tropp (2011, algorithm 4.1) finds in two passes.
    The size is that which Tropp et al. (2019, section 4.5) recommend.
    ``4 n_rows n_features (4 k + 1)`` flops, in memory for ``18 k + 100`` rows of A.

    An independent sketch of 10 k + 100 rows, their probe of the error (section 6), tells of
    ``E = A - Q Q^T A``: it estimates the Gram matrix of E, whose trace is known exactly.
    So singular values are those of A along the vectors, not of ``Q^T A``, which are too
    small. The error estimate is what the best rank k gains over the vectors on the sum of
    both Gram matrices. In expectation that is no less than on A, as the largest eigenvalues
    are convex.
    """
    n_features = A.shape[1]
    R = Gaussian(min(4 * k + 1, n_features), n_features).sample(rng).to_dense()
    R = orthonormal_rows(R)
    probe = SparseSign(10 * k + 100, _UNBOUNDED).sample(rng)
    Rt = np.ascontiguousarray(R.T, dtype=A.dtype)
    Z, H, sums, probed, ones, moments = A.first(
        lambda: A.fold(fold_sketches, Rt, probe, A.shift)
    )
    A.set_moments(moments)
    if A.center:
        Z -= np.outer(sums, moments.offset)
        H -= np.outer(sums, sums / moments.total_weight)
        probed -= ones * moments.offset
    # Their algorithm 3 factors H + nu I by Cholesky, and takes the shift nu off again at
    # the end. The spectral decomposition needs no shift.
    # Q = A R^T T is orthonormal; what squaring lost is left out, and so part of E.
    values, T = np.linalg.eigh(H)
    keep = slice(len(values) - numerical_rank(values, H.shape), None)
    T = T[:, keep] / np.sqrt(values[keep])
    B = T.T @ Z
    rest = probed - (probed @ R.T @ T) @ B
    total = A.moments.squared_norm
    rest *= _ratio_root(total - passes.squared_norm(B), passes.squared_norm(rest))
    V = complete_rows(np.linalg.svd(B, full_matrices=False)[2][:k], k, rng)
    # Of the Gram matrix along V: its part in the range of Q, and the rest.
    inside, outside = B @ V.T, rest @ V.T
    outside_gram = outside.T @ outside
    squares, rotation = np.linalg.eigh(inside.T @ inside + outside_gram)
    s = np.sqrt(np.maximum(squares[::-1], 0.0))
    V = (rotation[:, ::-1].T @ V).astype(A.dtype)
    # The probe may have missed some of the rest.
    factor = 1 / (1 - _MARGIN * np.sqrt(2 / len(rest)))
    best = _leading_sum(np.concatenate([B, np.sqrt(factor) * rest]), k)
    captured = float(np.sum(inside**2) + factor * np.trace(outside_gram))
    error = float(np.finfo(A.dtype).eps)
    if k < min(n_features, A.shape[0]):
        error = max(error, _excess(total, total - float(s @ s), best - captured))
    return RightSVD(s, V, error_estimate=error, converged=True)


def _ratio_root(wanted, given):
    """Return the factor by which a squared norm of `given` becomes `wanted`."""
    return np.sqrt(max(0.0, wanted) / given) if given > 0 else 0.0


def _leading_sum(M, k):
    """Return the sum of the k largest squared singular values."""
    gram = M @ M.T if M.shape[0] < M.shape[1] else M.T @ M
    n = len(gram)
    largest = [max(0, n - k), n - 1]
    return float(scipy.linalg.eigvalsh(gram, subset_by_index=largest).sum())


def _excess(total, tail, gain):
    """Return the relative excess of the root of `tail`, of which `gain` could be spared.

    Neither is known below rounding of the whole: where no more than that is left, the
    excess is no less than 0.4.
    """
    if total == 0:
        return 0.0
    rounding = _ROUNDINGS * np.finfo(np.float64).eps * total
    tail, gain = max(tail, rounding), max(gain, rounding)
    return float(np.sqrt(1 + gain / max(tail - gain, rounding)) - 1)
