"""Block Krylov iteration on the Gram matrix, stopped by an estimate of its error.

Its start is drawn in ``starts.py``. After each pass, `_outlook` estimates the error, and
`_is_last` decides whether there is another one.
"""

from bisect import bisect_left
from typing import Any, NamedTuple

import numpy as np

from ..._typing import Array
from ...operators import CenteredMatrix
from ..dense.orth import extend_rows, orthonormal_rows, product64
from ..dense.ritz import RitzBasis, bordered, descending_eigh, krylov_steps
from .gram import RightSVD, accurate_values

# A tail (squared) below this many eps of the whole is a difference of rounding errors.
_TAIL_LIMIT = 1e2

# Residuals below this many eps of the largest Ritz value are rounding.
NOISE = 8

# A step on the sample is worth trying where the error is within this factor of the
# tolerance.
_STEP_REACH = 100

# The next block keeps the directions that bring all but this share of its gain, or of the
# tolerance; as many as a multiple of what BLAS kernels take at a time.
_LOST_GAIN = 0.02
_LOST_TOLERANCE = 0.2
_NARROW_MULTIPLE = 8

# Gains that fall as those of a spectrum without decay sum to this many times the geometric
# series with the same ratio, see `_to_come`.
_SAFETY = 1.5

# Passes after which their gains tell those to come: the first says how good the start was,
# and of the others there are two ratios.
_TELLING_PASSES = 4

# Of a narrower block, the gain is multiplied by what is missing of its width, at most so.
_MOST_NARROWER = 2


class _Ahead:
    """The next Rayleigh-Ritz step, taken on a row sample.

    On the rows of V the Gram matrix is known exactly, and so is its coupling to the next
    block W; only its block on W is sampled, in parts that tell how far it may be off.

    Parameters
    ----------
    ritz : Ritz
        The leading Ritz pairs: the rows V and their images.
    W : ndarray of shape (l, n_features)
        The next block, orthonormal to V.
    k : int
        Number of singular vectors wanted.
    sample : SplitSample

    Attributes
    ----------
    gain : float
        Captured variance the step adds: what the present V lacks.
    noise : float
        Two standard deviations of the gain, as the parts of the sample differ.
    reliable : bool
        Whether the sample does not contradict what is known exactly.
    """

    def __init__(self, ritz, W, k, sample):
        values, V, self._images = ritz
        self.basis = np.concatenate([V, W])
        self.k, self.sample, self._W = k, sample, W
        self._known, self._cross = np.diag(values), product64(self._images, W)
        parts = [sample.scale * part for part in sample.projected_grams(W)]
        # What each part would add to the whole, were it all of the sample.
        self._errors = [len(parts) * part - sum(parts) for part in parts]
        self._H = bordered(self._known, self._cross, sum(parts))
        self._following, self._rotation = descending_eigh(self._H)
        self.values, self._coefficients = self._following[:k], self._rotation[:k]
        captured = float(values[:k].sum())
        sampled, certain = self.values.sum() - captured, self._certain(values) - captured
        self.gain = max(0.0, float(sampled), float(certain))
        self.reliable = bool(certain <= sampled)
        weights = self._coefficients[:, len(values) :]
        weights = weights.T @ weights
        gains = [float(np.sum(weights * error)) for error in self._errors]
        self.noise = 2 * float(np.std(gains)) / len(parts) ** 0.5

    def _certain(self, values):
        """Return what the step captures at least, whatever rows the sample missed."""
        # Of A W, what lies in the range of A V is known exactly.
        floor = np.finfo(self.basis.dtype).eps * values[0]
        inverse = np.where(values > floor, 1 / np.maximum(values, floor), 0.0)
        seen = (self._cross.T * inverse) @ self._cross
        H = bordered(self._known, self._cross, seen)
        return np.linalg.eigvalsh(H)[-self.k :].sum()

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
            H = bordered(self._known, cross[:, :r], sampled[:r, :r])
            return np.linalg.eigvalsh(H)[-self.k :].sum() >= enough

        sizes = range(_NARROW_MULTIPLE, len(directions), _NARROW_MULTIPLE)
        i = bisect_left(sizes, True, key=suffices)
        if i == len(sizes):
            return self._W
        return directions[: sizes[i]].astype(self._W.dtype) @ self._W

    def take(self):
        """Return the Ritz vectors of the step, and what they in turn lack.

        That is the loss from the sampling noise, and the gain of one more step.
        """
        k, scale, gain = self.k, self.sample.scale, 0.0
        coefficients = self._coefficients.astype(self.basis.dtype)
        vectors = coefficients @ self.basis
        images = scale * self.sample.image(self._W)
        images = coefficients @ np.concatenate([self._images, images])
        residuals = images - self.values[:, np.newaxis].astype(vectors.dtype) * vectors
        W = extend_rows(self.basis, residuals)
        if len(W):
            cross = product64(images, W)
            sampled = scale * sum(self.sample.projected_grams(W))
            following = np.linalg.eigvalsh(bordered(np.diag(self.values), cross, sampled))
            gain = following[-k:].sum() - self.values.sum()
        return vectors, self._lost(), max(0.0, float(gain))

    def _lost(self):
        """Return what the step loses by the noise of the sample: its mean and twice its sd.

        Noise turns each pair of a vector that is wanted and one that is not. The parts of
        the sample differ by as much, so that each of them tells such a loss.
        """
        k, q, n_parts = self.k, len(self._known), len(self._errors)
        wanted, others = self._rotation[:k, q:], self._rotation[k:, q:]
        gaps = self.values[:, np.newaxis] - self._following[k:]
        losses = []
        for error in self._errors:
            squares = (wanted @ error @ others.T) ** 2 * (4 / (n_parts - 1))
            lengths = np.sqrt(gaps**2 + squares)
            scale = lengths * (lengths + gaps)
            losses.append(np.sum(gaps * squares / np.where(scale > 0, scale, 1.0)) / 2)
        return float(np.mean(losses) + 2 * np.std(losses))


class Energy:
    """How the squared norm of the matrix is split after a pass.

    Attributes
    ----------
    leading : ndarray of shape (k,)
        Squared singular values so far, of those wanted.
    captured : float
        Their sum.
    total : float
        The squared Frobenius norm.
    tail : float
        What is left of it: the squared error.
    tail_is_lost : bool
        Whether that is a difference of rounding errors.
    noise : float
        The norm of residuals that are rounding.
    unseen : float
        The excess error that is lost in the differences of Ritz values.
    eps : float
        Relative rounding error of the data.
    """

    def __init__(self, A: Any, leading: Array) -> None:
        self.eps: float = float(np.finfo(A.dtype).eps)
        self.leading: Array = leading
        self.captured: float = float(leading.sum())
        self.total: float = A.moments.squared_norm
        self.tail: float = max(0.0, self.total - self.captured)
        self.tail_is_lost: bool = self.tail <= _TAIL_LIMIT * self.eps * self.total
        self.noise: float = NOISE * self.eps * float(leading[0])
        rounding = np.finfo(leading.dtype).eps * self.captured
        self.unseen: float = rounding / (2 * self.tail) if self.tail > 0 else np.inf


class _Outlook(NamedTuple):
    """What more passes are estimated to bring.

    Attributes
    ----------
    excess : float
        Estimated excess error now: the gain of all that is to come, relative to the tail.
    tail : float
        Squared error of the best rank k, as far as it is known.
    ahead : _Ahead or None
        The next step as seen on the sample, where that is reliable.
    """

    excess: float
    tail: float
    ahead: _Ahead | None = None


class _Found(NamedTuple):
    """Ritz values and vectors to return, and their excess error."""

    values: np.ndarray
    vectors: np.ndarray
    excess: float


def block_krylov(
    A: CenteredMatrix,
    start: Array,
    k: int,
    *,
    tol: float,
    max_passes: int,
    sample: Any = None,
    subspace: bool = False,
) -> RightSVD:
    """Find the leading right singular vectors of `A` by fused passes.

    Parameters
    ----------
    A : CenteredMatrix
        Or anything with its ``gram_product``, ``moments``, ``stopped`` and ``dtype``.
    start : ndarray of shape (l, n_features)
        Orthonormal rows, l >= k.
    k : int
        Number of singular vectors wanted.
    tol : float
        Excess Frobenius error, relative to that of the best rank k, at which to stop.
    max_passes : int
        Most passes to make.
    sample : SplitSample, default=None
        Row sample to look one step ahead on, drawn independently of `start`. Without it,
        the estimate is what the last pass gained: one pass late.
    subspace : bool, default=False
        Forget all but the latest block: subspace iteration, in less memory.

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
      ``A V^T``, one more pass of half the flops. Where the tail is lost in rounding too,
      the iteration ends: see `deflated_svd`.
    """
    basis = RitzBasis(len(start), A.dtype)
    captured, gains = 0.0, []
    # Their K is [A W, (A A^T) A W, ...]. Here it is [W, (A^T A) W, ...] on the right side,
    # of which each block costs one fused product V -> A^T (A V).
    for n_passes, step in enumerate(krylov_steps(basis, start, A.gram_product), 1):
        # The first pass over the data brings their squared norm with it.
        energy = Energy(A, step.ritz.values[:k])
        gains.append(energy.captured - captured)
        captured = energy.captured
        if energy.tail_is_lost:
            return _above_rounding(step.ritz, energy, np.inf)
        # What is below rounding has converged.
        tol = max(tol, NOISE * energy.eps)
        # Rounding has a direction as well, but not one that is worth a pass.
        step.residuals, is_dropped = _above_noise(step.residuals, energy.noise)
        hidden = _excess_in_rounding(energy, is_dropped[:k])
        if hidden > tol:
            return _above_rounding(step.ritz, energy, hidden)._replace(stalled=True)
        narrower = 1.0
        if not subspace and len(step.block):
            narrower = min(len(step.ritz.values) / len(step.block), _MOST_NARROWER)
        outlook = _outlook(step, energy, gains, sample, narrower, subspace)
        last = A.stopped or n_passes >= max_passes
        last = last or _is_last(outlook, step.block, tol)
        found = _sampled_step(outlook, tol, last, 0 if subspace else n_passes)
        if found is not None or last:
            break
        if subspace:
            step.block = _image_block(step.ritz, basis.width)
            basis.clear()
        elif outlook.ahead is not None:
            step.block = _narrowed(outlook, tol)
    if found is None:
        found = _Found(step.ritz.values, step.ritz.vectors, outlook.excess)
    s, V = accurate_values(A, found.values, found.vectors, k)
    excess = max(float(found.excess), hidden, energy.eps)
    stated = max(excess, energy.unseen)
    return RightSVD(s, V, error_estimate=stated, converged=excess <= tol)


def _above_rounding(ritz, energy, excess):
    """Return the Ritz pairs that are above rounding."""
    r = np.count_nonzero(ritz.values > _TAIL_LIMIT * energy.eps * energy.total)
    s = np.sqrt(ritz.values[:r])
    return RightSVD(s, ritz.vectors[:r], excess, converged=False, lost=True)


def _above_noise(residuals, noise):
    """Return the residuals that are more than rounding, and which are not."""
    is_dropped = np.einsum("ij,ij->i", residuals, residuals) <= noise**2
    return residuals[~is_dropped], is_dropped


def _to_come(gain, before, n_passes, subspace=False) -> float:
    """Return what all passes after `n_passes` gain, given that the next one gains `gain`.

    In the worst case, a spectrum without decay, the error falls as the square of the passes
    (Musco & Musco 2015): that is ``(n + 1)^2 / (2 n + 1)`` times the next gain. As many
    passes n as explain the ratio of this gain to the one before make it
    ``1.5 / (1 - ratio)`` times that, to 2 % from n = 2 on. That of subspace iteration falls
    as the passes themselves, but what falls fast hides at first what does not: over the
    passes made, as their root, so that both are ``2 n + 1`` and ``3 / (1 - ratio)``.
    """
    factor, most = _SAFETY, (n_passes + 1) ** 2 / (2 * n_passes + 1)
    if subspace:
        factor, most = 3.0, 2 * n_passes + 1
    share = 1 - gain / before if before > gain else 0.0
    return gain * factor / max(share, min(1.0, factor / most))


def _outlook(step, energy, gains, sample, narrower, subspace):
    """Estimate the excess error of the directions found so far.

    The error ``||A - A V^T V||_F`` is the root of the tail. So its relative excess is, to
    first order, half of what the passes to come will take from the tail. That is estimated
    from the next pass, as far as it can be seen on the sample, or else from the last one.
    """
    if not len(step.block):
        return _Outlook(0.0, energy.tail)
    n_passes = len(gains)
    # What the first pass gains says how good the start was, and no more.
    before, gained = [np.inf, np.inf, *gains[1:]][-2:]
    lacking = np.inf
    if n_passes > 1:
        lacking = _to_come(gained, before, n_passes - 1, subspace)
        if not subspace:
            # Without the last pass itself; but never less than it gained.
            lacking = max(lacking - gained, _SAFETY * gained)
    if sample is None:
        return _Outlook(lacking / (2 * energy.tail), energy.tail)
    ahead = _Ahead(step.ritz, step.block, len(energy.leading), sample)
    tail = max(energy.tail - ahead.gain, energy.eps * energy.total)
    # A block without the residuals that are rounding is narrower, and its step gains less.
    gain = narrower * (ahead.gain + ahead.noise)
    ahead_lacking = _to_come(gain, gained, n_passes, subspace)
    # In the end sampling noise is all the gain there is, and the passes made tell more.
    lacking = min(lacking, ahead_lacking) if n_passes >= _TELLING_PASSES else ahead_lacking
    return _Outlook(lacking / (2 * tail), tail, ahead if ahead.reliable else None)


def _excess_in_rounding(energy, is_dropped):
    """Return the excess error that may be hidden where residuals are dropped as rounding.

    The error of a Ritz value is quadratic in its residual, as long as that is smaller than
    its distance from the values that are not wanted.
    """
    noise, leading = energy.noise, energy.leading[is_dropped]
    gaps = np.maximum(leading - energy.leading[-1], noise)
    return float(np.sum(noise * (noise / gaps))) / (2 * energy.tail) if len(gaps) else 0.0


def _is_last(outlook, block, tol):
    """Whether to stop: no direction is left, or the error is within the tolerance."""
    if not len(block):
        return True
    return outlook.excess <= tol


def _sampled_step(outlook, tol, last, n_passes):
    """Return what the next pass would find, as the sample tells, if that is good enough.

    So a pass is saved. None where the pass has to be made, or is not needed.
    """
    if outlook.ahead is None or not tol < outlook.excess < _STEP_REACH * tol:
        return None
    vectors, lost, gain = outlook.ahead.take()
    lacking = lost + _to_come(gain, outlook.ahead.gain, n_passes + 1)
    excess = lacking / (2 * outlook.tail)
    if excess <= tol or (last and excess < outlook.excess):
        return _Found(outlook.ahead.values, orthonormal_rows(vectors), excess)
    return None


def _narrowed(outlook, tol):
    """Return the next block without directions that gain less than their products cost."""
    enough = _LOST_TOLERANCE * tol * 2 * outlook.tail
    return outlook.ahead.leading_directions(max(_LOST_GAIN * outlook.ahead.gain, enough))


def _image_block(ritz, width):
    """Return the next block of subspace iteration: the images, orthonormal."""
    block = orthonormal_rows(ritz.images)
    if len(block) < width:
        # Where rounding took directions from the images, the vectors still have them.
        block = np.concatenate([block, extend_rows(block, ritz.vectors)])[:width]
    return block
