"""One-view SVD: sketches of a matrix that is read once, block by block."""

from __future__ import annotations

import numpy as np

from ...operators import Moments, passes
from ...operators.moments import shift_rows
from ...operators.rows import add_states
from ...sketching import Gaussian, SparseSign
from ..dense.orth import complete_rows
from ..dense.rank import numerical_rank
from .block_krylov import RightSVD

# Columns of the sketches over rows, whose number a stream does not tell in advance.
_UNBOUNDED = 2**62


def fold_sketches(state, block, left, right, shift):
    """Fold the linear sketches ``S (B - 1 shift^T)`` and ``(B - 1 shift^T) R``.

    The left sketches are those of the co-range, the core and the error probe. State:
    ``S A`` for the first and last, ``S Y`` for the second with ``Y = A R``; the moments of
    Y, with ``Y^T Y``; ``S 1`` for each; the moments about the shift.
    """
    values, weight = shift_rows(block.values, shift), block.weight
    moments = passes.block_moments(values, weight, shift)
    Y = np.asarray(values @ right, dtype=np.float64)
    ones = np.ones((len(Y), 1))
    if weight is not None:
        ones = np.sqrt(weight.astype(np.float64))[:, np.newaxis]
        Y = Y * ones
        values = passes.scale_rows(values, ones)
    corange, core, probe = left
    part = [
        corange.apply(values, block.start).astype(np.float64),
        probe.apply(values, block.start).astype(np.float64),
        core.apply(Y, block.start),
        Moments(moments.total_weight, (ones * Y).sum(axis=0), Y.T @ Y),
        *[S.apply(ones, block.start) for S in left],
        moments,
    ]
    return add_states(state, part)


def one_view_right_svd(A, k, *, rng):
    """Compute leading right singular vectors of `A` from one pass of linear sketches.

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
    Tropp, Yurtsever, Udell & Cevher (2019), algorithm 4.2 with their sizes: 4 k + 1 for
    range and co-range, twice that and one for the core. Deviations: sketches over rows
    are sparse signs; the range sketch Y is never stored, as the right factor needs only
    ``Y^T Y`` and its core sketch; all sketches are linear, so that the mean found at the
    end is subtracted from them. A third sketch, independent of the result V, estimates
    its error: what the best rank k gains over V on the sketch, which in expectation is
    no less than on A.
    """
    n_features = A.shape[1]
    width = min(4 * k + 1, n_features)
    core_size = min(2 * width + 1, n_features)
    left = [
        SparseSign(size, _UNBOUNDED).sample(rng)
        for size in (width, 2 * width + 1, 10 * k + 100)
    ]
    right = np.concatenate(
        [Gaussian(size, n_features).sample(rng).to_dense() for size in (width, core_size)]
    ).T.astype(A.dtype)
    (
        corange,
        probe,
        core_Y,
        moments_Y,
        ones_corange,
        ones_core,
        ones_probe,
        moments,
    ) = A.first(lambda: A.fold(fold_sketches, left, right, A.shift))
    A.set_moments(moments)
    right = right.astype(np.float64)
    if A.center:
        offset = moments.offset
        offset_Y = offset @ right
        corange -= ones_corange * offset
        probe -= ones_probe * offset
        core_Y -= ones_core * offset_Y
        moments_Y = moments_Y.about(offset_Y)
    P = _range(corange.T)
    # Q = Y T is orthonormal; what squaring lost is left out.
    range_gram = moments_Y.squares[:width, :width]
    values, vectors = np.linalg.eigh(range_gram)
    keep = slice(len(values) - numerical_rank(values, range_gram.shape), None)
    T = vectors[:, keep] / np.sqrt(values[keep])
    core_Q = core_Y[:, :width] @ T
    Z = core_Y[:, width:]
    Psi = right[:, width:].T
    middle = np.linalg.lstsq(core_Q, Z, rcond=None)[0]
    middle = np.linalg.lstsq(Psi @ P, middle.T, rcond=None)[0].T
    _, s, rotation = np.linalg.svd(middle, full_matrices=False)
    V = complete_rows(rotation[:k] @ P.T, k, rng)
    s = np.concatenate([s[:k], np.zeros(k - len(s[:k]))])
    return RightSVD(s, V.astype(A.dtype), _excess(probe, V, k), True)


def _range(B):
    U, s, _ = np.linalg.svd(B, full_matrices=False)
    return U[:, : numerical_rank(s, B.shape)]


def _excess(probe, V, k):
    """Return the excess error of V over the best rank k on the sketch `probe`."""
    s2 = np.linalg.svd(probe, compute_uv=False) ** 2
    total = float(s2.sum())
    best = float(s2[k:].sum())
    error = total - float(np.sum((probe @ V.T) ** 2))
    if error <= np.finfo(V.dtype).eps * total:
        return 0.0
    return max(0.0, float(np.sqrt(error / best)) - 1) if best > 0 else np.inf
