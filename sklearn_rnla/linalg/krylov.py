"""Block Krylov iteration on the Gram matrix, stopped by an estimate of its error."""

from __future__ import annotations

from bisect import bisect_left
from typing import NamedTuple

import numpy as np

from .orth import extend_rows, orthonormal_rows, product64
from .ritz import RitzBasis, descending_eigh

# Ritz values this close to the squared rounding error of the largest come from a QR
# factor instead of a Gram matrix: 1e-4 is then their relative accuracy at least.
_SQUARING_LIMIT = 1e4

# A tail (squared) below this many eps of the whole is a difference of rounding errors.
_TAIL_LIMIT = 1e2

# Residuals below this many eps of the largest Ritz value are rounding.
_NOISE = 50

# Passes after which a tail lost in rounding is taken for converged.
_DEEP_PASSES = 3

# The basis is cut back to its leading Ritz vectors beyond this many blocks.
_MAX_BLOCKS = 6

# A step on the sample is worth trying where the error is within this factor of the
# tolerance.
_STEP_REACH = 100

# The next block keeps the directions that bring all but this share of its gain, or of the
# tolerance; as many as a multiple of what BLAS kernels take at a time.
_LOST_GAIN = 0.02
_LOST_TOLERANCE = 0.2
_NARROW_MULTIPLE = 8

# Estimates are multiplied by this before they are compared with a tolerance or reported:
# what the sampled look-ahead cannot see, measured on the spectra gallery.
_SAFETY = 1.5


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
        Whether it is not, but more passes would be rounding.
    """

    singular_values: np.ndarray
    components: np.ndarray
    error_estimate: float
    converged: bool
    stalled: bool = False


def squaring_loses(squared_values, k, dtype, limit=_SQUARING_LIMIT) -> bool:
    """Whether the k-th squared singular value drowns in the rounding of the first."""
    eps = np.finfo(dtype).eps
    return bool(squared_values[k - 1] < limit * eps * squared_values[0])


def refine_values(A, V):
    """Return singular values of ``A V^T`` and V rotated to them, by a QR pass."""
    _, s, rotation = np.linalg.svd(A.triangular_factor(V))
    return s, rotation.astype(V.dtype) @ V


class _Ahead:
    """The next Rayleigh-Ritz step, taken on a row sample.

    On the rows of V the Gram matrix is known exactly, and so is its coupling to the next
    block W; only its block on W is sampled, in two halves.

    Attributes
    ----------
    gain : float
        Captured variance the step adds: what the present V lacks.
    reliable : bool
        Whether the sample does not contradict what is known exactly.
    """

    def __init__(self, values, V, images, W, k, sample):
        self.basis = np.concatenate([V, W])
        self.k = k
        self.sample = sample
        self._known, self._cross = np.diag(values), product64(images, W)
        self._images = images
        self._W = W
        self._halves = sample.projected_grams(W)
        self._H = self._matrix(sum(self._halves))
        ritz, coefficients = descending_eigh(self._H)
        self.values, self._coefficients = ritz[:k], coefficients[:k]
        sampled = float(self.values.sum() - values[:k].sum())
        # Of A W, what lies in the range of A V is known exactly: at least that is gained,
        # whatever rows the sample missed.
        floor = np.finfo(self.basis.dtype).eps * values[0]
        inverse = np.where(values > floor, 1 / np.maximum(values, floor), 0.0)
        seen = (self._cross.T * inverse) @ self._cross
        certain = np.linalg.eigvalsh(_bordered(self._known, self._cross, seen))
        certain = float(certain[-k:].sum() - values[:k].sum())
        self.gain = max(0.0, sampled, certain)
        self.reliable = certain <= sampled

    def _matrix(self, sampled):
        return _bordered(self._known, self._cross, self.sample.scale * sampled)

    def leading_directions(self, loss):
        """Return the fewest directions of the next block that gain all but `loss`.

        Those that the Ritz vectors of the step use most. What is left out is not lost: it
        stays in the residuals, and comes again in a later block.
        """
        q = len(self._known)
        directions = np.linalg.svd(self._coefficients[:, q:], full_matrices=False)[2]
        cross, sampled = self._H[:q, q:] @ directions.T, directions @ self._H[q:, q:]
        sampled = sampled @ directions.T
        enough = self.values.sum() - loss

        def suffices(r):
            H = _bordered(self._known, cross[:, :r], sampled[:r, :r])
            return np.linalg.eigvalsh(H)[-self.k :].sum() >= enough

        sizes = range(_NARROW_MULTIPLE, len(directions), _NARROW_MULTIPLE)
        i = bisect_left(sizes, True, key=suffices)
        if i == len(sizes):
            return self._W
        return directions[: sizes[i]].astype(self._W.dtype) @ self._W

    def take(self):
        """Return the Ritz vectors of the step, and what they in turn lack.

        That is the gain of one more step, and the loss from the sampling noise: of each
        half of the sample measured with the whole.
        """
        k, H, scale = self.k, self._H, self.sample.scale
        lacking = 0.0
        for half in self._halves:
            _, c = descending_eigh(self._matrix(2 * half))
            lacking += (self.values.sum() - np.sum((c[:k] @ H) * c[:k])) / 2
        coefficients = self._coefficients.astype(self.basis.dtype)
        vectors = coefficients @ self.basis
        images = scale * self.sample.image(self._W)
        images = coefficients @ np.concatenate([self._images, images])
        residuals = images - self.values[:, np.newaxis].astype(vectors.dtype) * vectors
        W = extend_rows(self.basis, residuals)
        if len(W):
            cross = product64(images, W)
            sampled = scale * sum(self.sample.projected_grams(W))
            following = np.linalg.eigvalsh(_bordered(np.diag(self.values), cross, sampled))
            lacking += following[-k:].sum() - self.values.sum()
        return vectors, max(0.0, float(lacking))


def _bordered(known, cross, sampled):
    return np.block([[known, cross], [cross.T, sampled]])


def block_krylov(
    A,
    start,
    k,
    *,
    tol,
    max_passes,
    sample=None,
    subspace=False,
    report=None,
):
    """Find the leading right singular vectors of `A` by fused passes.

    Parameters
    ----------
    A : CenteredMatrix
        Or anything with its ``gram_product``, ``moments`` and ``dtype``.
    start : ndarray of shape (l, n_features)
        Orthonormal rows, l >= k.
    k : int
        Number of singular vectors wanted.
    tol : float
        Excess Frobenius error, relative to that of the best rank k, at which to stop.
    max_passes : int
        Most passes to make.
    sample : PairedSample, default=None
        Row sample to look one step ahead on, drawn independently of `start`. Without it,
        the estimate is what the last pass gained: one pass late.
    subspace : bool, default=False
        Forget all but the latest block: subspace iteration, in less memory.
    report : callable, default=None
        Called after each pass; stops the iteration by returning True.

    Returns
    -------
    RightSVD
        Of at least k triplets, at most the rows of `start`.

    Notes
    -----
    Block Lanczos on ``A^T A`` with full orthogonalisation and Rayleigh-Ritz after each
    pass (Musco & Musco 2015, algorithm 2, in the coordinates of the right factor). A
    pass costs 4 n_rows n_features l flops and reads the data once. Where it deviates:

    - The iteration stops, not after a fixed count, but once a step of Rayleigh-Ritz on
      basis and residuals, with the residuals' Gram block from the row sample, gains
      less than ``2 tol`` times the tail. Where the step itself is estimated to reach
      the tolerance, it is taken: a pass saved.
    - Of the residuals, only the directions that this step finds worth their products make
      the next block: it is ever narrower.
    - Singular values that squaring would drown in rounding come from the QR factor of
      ``A V^T``, one more pass of half the flops. If the tail is lost in rounding too,
      that factor is taken on the whole basis, after three passes at least.
    """
    width = len(start)
    basis = RitzBasis(A.dtype)
    block = start
    n_passes = 0
    captured = 0.0
    while True:
        product = A.gram_product(block)
        n_passes += 1
        if subspace:
            basis = RitzBasis(A.dtype)
        basis.add(block, product.Z, product.H)
        stop = report is not None and report()
        values, V, images = basis.rotate(width)
        total = A.moments.squared_norm
        tail = max(0.0, total - float(values[:k].sum()))
        deep = tail <= _TAIL_LIMIT * np.finfo(A.dtype).eps * total
        residuals = images - values[:, np.newaxis].astype(A.dtype) * V
        noise = _NOISE * np.finfo(A.dtype).eps * values[0]
        if not deep:
            # Rounding has a direction too, but not one worth a pass.
            norms = np.sqrt(np.einsum("ij,ij->i", residuals, residuals))
            residuals = residuals[norms > noise]
        block = extend_rows(basis.vectors, residuals)
        gained, captured = float(values[:k].sum()) - captured, float(values[:k].sum())
        ahead = None
        if deep or not len(block):
            estimate = 0.0 if deep else _hidden(values[:k], noise) / (2 * tail)
            estimate = 0.0 if estimate <= _NOISE * np.finfo(A.dtype).eps else estimate
            last = not len(block) or n_passes >= _DEEP_PASSES
        else:
            if sample is not None:
                ahead = _Ahead(values, V, images, block, k, sample)
                gained = _SAFETY * ahead.gain
                tail = max(tail - ahead.gain, np.finfo(A.dtype).eps * total)
            # Without a sample: the next pass will gain less than the last.
            estimate = gained / (2 * tail)
            last = estimate <= tol
        last = last or stop or n_passes >= max_passes
        sees_ahead = ahead is not None and ahead.reliable
        if sees_ahead and tol < estimate < _STEP_REACH * tol:
            vectors, lacking = ahead.take()
            after = _SAFETY * lacking / (2 * tail)
            if after <= tol or (last and after < estimate):
                values, V = ahead.values, orthonormal_rows(vectors)
                estimate, last = after, True
        if last:
            break
        if subspace:
            block = orthonormal_rows(images)
            if len(block) < width:
                block = np.concatenate([block, extend_rows(block, V)])[:width]
        else:
            if sees_ahead:
                loss = max(_LOST_GAIN * ahead.gain, _LOST_TOLERANCE * tol * 2 * tail)
                block = ahead.leading_directions(loss)
            if len(basis.vectors) + len(block) > _MAX_BLOCKS * width:
                basis.restart(2 * width)
    if deep and A.moments.squared_norm > 0:
        s, V = refine_values(A, basis.vectors)
        s, V = s[:width], V[:width]
    elif squaring_loses(values, min(k, len(values)), A.dtype):
        s, V = refine_values(A, V)
    else:
        s = np.sqrt(np.maximum(values, 0.0))
    stalled = not len(block) and estimate > tol
    return RightSVD(s, V, float(estimate), bool(estimate <= tol), bool(stalled))


def _hidden(values, noise):
    """Return what Ritz values may lack where their residuals are no more than noise.

    That is quadratic in the residuals as long as these are smaller than the values.
    """
    return float(np.sum(np.minimum(noise, noise**2 / np.maximum(values, noise))))
