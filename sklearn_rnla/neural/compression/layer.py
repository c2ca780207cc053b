"""A layer's matrix as a product of two, by singular vectors of its outputs."""

from dataclasses import dataclass
from functools import cached_property
from numbers import Integral, Real
from typing import NamedTuple

import numpy as np

from ..._random import draw_seed
from ..._sklearn import Interval, RealNotInt, validated
from ..._typing import Float, Int, Seed, Tensor
from ..._validation import check_rank
from ...linalg import randomized_svd
from ...operators.scaling import scale_of
from ..arrays import like, to_numpy
from .inputs import moments_of, psd_root

# The default ridge, in units of ``n_in / n_samples``. On layers and activations of a
# transformer, 32 to 1024 samples, held-out errors are within 3 % of those of the best.
_RIDGE = 0.5

# A rank known beforehand and this much below the sides: iterate. Else all singular
# values are computed.
_FEW = 8
_LARGE = 512

# Excess error at which that stops, by its estimate; mostly a tenth of that.
_TOL = 5e-3

# Squares lost, relative, below which a difference of sums of squares has too few digits.
_CANCELLED = 1e-6

RIDGE = [Interval(Real, 0, None, closed="left"), None]

# How much to keep: a number, or a fraction of what there is.
NUMBER_OR_SHARE = [
    Interval(Integral, 1, None, closed="left"),
    Interval(RealNotInt, 0, 1, closed="right"),
]

# What tells the rank of one layer.
CRITERIA = {
    "rank": [Interval(Integral, 1, None, closed="left"), None],
    "energy": [Interval(Real, 0, 1, closed="right"), None],
    "error": [Interval(Real, 0, 1, closed="left"), None],
    "compression": [Interval(Real, 1, None, closed="left"), None],
}


class LowRankFactors(NamedTuple):
    """A matrix W of shape (n_out, n_in), approximated by a product of two matrices.

    Attributes
    ----------
    left : ndarray or tensor of shape (n_out, rank)
        The second factor, with orthonormal columns.
    right : ndarray or tensor of shape (rank, n_in)
        The first factor: ``W ~ left right``. A layer with weights `right` and no bias,
        followed by one with weights `left`, replaces the layer with weights W.
    bias : ndarray, tensor or None of shape (n_out,)
        Bias of the second layer, corrected for what the mean activation loses. None if no
        bias was given.
    rank : int
        Rank of the product.
    n_parameters : int
        Number of entries of both factors, ``rank (n_out + n_in)``.
    n_parameters_before : int
        Number of entries of W.
    break_even : float
        The rank at which these numbers are equal, ``n_out n_in / (n_out + n_in)``.
    worthwhile : bool
        Whether the factors have fewer entries than W. If not, keep W.
    weight_error : float
        Relative error of the weights, ``||W - left right||_F / ||W||_F``.
    output_error : float or None
        Relative error of the outputs, ``||X (W - left right)^T||_F / ||X W^T||_F``. With a
        bias, both norms are about the mean. None if no activations were given.

    See Also
    --------
    low_rank_factorize : Returns it.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_rnla import low_rank_factorize
    >>> found = low_rank_factorize(np.random.default_rng(0).random((30, 20)), rank=2)
    >>> found.left.shape, found.right.shape, found.n_parameters, found.break_even
    ((30, 2), (2, 20), 100, 12.0)
    """

    left: np.ndarray
    right: np.ndarray
    bias: np.ndarray | None
    rank: int
    n_parameters: int
    n_parameters_before: int
    break_even: float
    worthwhile: bool
    weight_error: float
    output_error: float | None


@dataclass(frozen=True)
class Layer:
    """A layer to compress: matrix, and what its inputs are.

    Attributes
    ----------
    W : ndarray of shape (n_out, n_in)
        In float64, over `scale`: squares neither overflow nor vanish.
    scale : float
        A power of two.
    bias : ndarray of shape (n_out,) or None
    mean : ndarray of shape (n_in,) or None
        Of the inputs, where a bias can take it up.
    second : ndarray of shape (n_in, n_in) or None
        Second moments of the inputs, about that mean if there is one, over
        ``input_scale**2``.
    input_scale : float
        A power of two.
    ridge : float
        What is added to the diagonal of `second`.
    """

    W: np.ndarray
    scale: float
    bias: np.ndarray | None = None
    mean: np.ndarray | None = None
    second: np.ndarray | None = None
    input_scale: float = 1.0
    ridge: float = 0.0

    @cached_property
    def outputs(self) -> np.ndarray:
        """A matrix whose rank-k approximation is that of the outputs, but for scales."""
        if self.second is None:
            return self.W
        return self.W @ psd_root(self.second + self.ridge * np.eye(len(self.second)))

    @property
    def exponent(self) -> float:
        """Power of two by which `outputs` are to be multiplied, which may overflow."""
        return float(np.log2(self.scale) + np.log2(self.input_scale))

    def spectrum(self):
        """Return left singular vectors of the outputs and all singular values."""
        U, s, _ = np.linalg.svd(self.outputs, full_matrices=False)
        return U, s

    def factors(self, left) -> LowRankFactors:
        """Return the factors, given an orthonormal basis of the outputs to keep."""
        W, rank = self.W, left.shape[1]
        right = left.T @ W
        bias = self.bias
        if bias is not None and self.mean is not None:
            mean = W @ self.mean - left @ (right @ self.mean)
            bias = bias + mean * self.scale
        weights = _squares_lost(W, left, right)
        output_error = None
        if self.second is not None:
            outputs = _squares_lost(self.outputs, left, left.T @ self.outputs)
            # Without the ridge.
            outputs = np.maximum(outputs - self.ridge * weights, 0.0)
            output_error = _ratio(*np.sqrt(outputs))
        n_parameters = rank * sum(W.shape)
        return LowRankFactors(
            left,
            right * self.scale,
            bias,
            rank,
            n_parameters,
            W.size,
            W.size / sum(W.shape),
            n_parameters < W.size,
            _ratio(*np.sqrt(weights)),
            output_error,
        )


def _squares_lost(Y, left, right):
    """Return ``||Y - left right||_F^2`` and ``||Y||_F^2``.

    `right` is ``left^T Y``, and the columns of `left` are orthonormal, but for rounding.
    """
    total = np.vdot(Y, Y)
    lost = total - 2 * np.vdot(right, right) + np.vdot(right, (left.T @ left) @ right)
    if lost < _CANCELLED * total:
        lost = np.square(Y - left @ right).sum()
    return np.array([lost, total])


def _ratio(error, norm):
    return float(error / norm) if norm > 0 else 0.0


def check_bias(bias, name, length):
    """Return a bias as an ndarray; None where there is none.

    Raises
    ------
    ValueError, TypeError
        Those of `to_numpy`, and when it has another length.
    """
    if bias is not None:
        bias = to_numpy(bias, name, ndim=1)
        if len(bias) != length:
            raise ValueError(f"{name} has length {len(bias)}, but {length} is expected.")
    return bias


def make_layer(W, activations, bias, ridge, name="W") -> Layer:
    """Return a layer of checked arrays.

    Raises
    ------
    ValueError, TypeError
        When one of them does not fit.
    """
    W = to_numpy(W, name, ndim=2).astype(np.float64)
    n_out, n_in = W.shape
    scale = scale_of(W)
    W = W / scale
    bias = check_bias(bias, f"bias of {name}", n_out)
    if activations is None:
        return Layer(W, scale, bias)
    moments = moments_of(activations, f"activations of {name}", n_in)
    center = bias is not None
    second = moments.second(center)
    if ridge is None:
        ridge = _RIDGE * n_in / moments.count
    return Layer(
        W,
        scale,
        bias,
        moments.mean if center else None,
        second,
        moments.scale,
        ridge * np.trace(second) / n_in,
    )


@validated(**CRITERIA, ridge=RIDGE)
def low_rank_factorize(
    W: Tensor,
    rank: Int | None = None,
    energy: Float | None = None,
    error: Float | None = None,
    compression: Float | None = None,
    *,
    activations: Tensor | None = None,
    bias: Tensor | None = None,
    ridge: Float | None = None,
    random_state: Seed = None,
) -> LowRankFactors:
    """Replace a layer's matrix by a product of two smaller ones.

    Exactly one of `rank`, `energy`, `error` and `compression` must be given.

    Parameters
    ----------
    W : array-like or tensor of shape (n_out, n_in)
        Weights as in torch, for a layer ``x W^T + bias``. Weights of scikit-learn must be
        transposed.
    rank : int, default=None
        Rank of the product, at most ``min(n_out, n_in)``.
    energy : float, default=None
        Fraction in (0, 1] of the squared norm to keep, that of the outputs if activations
        are given and else that of the weights. The smallest rank that keeps it is used.
    error : float, default=None
        Relative error in [0, 1) to allow. It is the same as ``energy = 1 - error**2``.
    compression : float, default=None
        Factor, at least 1, by which the number of entries is reduced. The largest rank that
        achieves it is used.
    activations : array-like or tensor of shape (..., n_in), default=None
        Inputs X of the layer. If given, the error of the outputs ``X W^T`` is minimised
        rather than that of W.
    bias : array-like or tensor of shape (n_out,), default=None
        Bias of the layer. If activations are given, too, the bias takes over the mean of
        the outputs, so that the factors only need to reproduce what varies.
    ridge : float, default=None
        Number added to the diagonal of the activations' second moments, relative to the
        mean of that diagonal. It keeps directions in play that these samples do not show.
        None means ``n_in / (2 n_samples)``, and 0 the optimum for these samples.
    random_state : int, RandomState instance, Generator or None, default=None
        Seed of the iteration that finds few factors of a large matrix.

    Returns
    -------
    LowRankFactors
        The named tuple ``(left, right, bias, rank, n_parameters, ...)``, with arrays like
        W. Its field ``worthwhile`` tells whether the factors are smaller than W; there is
        no warning if they are not.

    Raises
    ------
    ValueError
        If not exactly one criterion is given or it is out of range, if an array has NaN or
        infinity, or if shapes do not match.
    TypeError
        If an array does not hold real numbers.

    See Also
    --------
    compress_layers : Chooses the ranks of several layers within one budget.

    Notes
    -----
    Let ``L L^T = X^T X / n + ridge I`` and ``W L = U S V^T``. The optimum is
    ``W ~ U_k S_k V_k^T L^-1`` [1]_. It is computed as ``U_k U_k^T W``, which is the same
    and needs no inverse, so that activations may span fewer than n_in directions. Output
    errors below 1e-8 are lost in the rounding of the Gram matrix. The activations cost
    ``n n_in^2`` flops. The rest is a singular value decomposition of an n_out x n_in
    matrix, or an iteration if the rank is known and small.

    References
    ----------
    .. [1] Wang, X., Zheng, Y., Wan, Z., & Zhang, M. (2024). SVD-LLM: truncation-aware
       singular value decomposition for large language model compression.
       arXiv:2403.07378.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_rnla import low_rank_factorize
    >>> W = np.outer([1.0, 2.0, 2.0], [3.0, 0.0, 4.0])
    >>> found = low_rank_factorize(W, rank=1)
    >>> found.n_parameters, found.n_parameters_before, found.worthwhile
    (6, 9, True)
    >>> np.allclose(found.left @ found.right, W)
    True
    """
    criterion, value = only_one(
        rank=rank, energy=energy, error=error, compression=compression
    )
    layer = make_layer(W, activations, bias, ridge)
    seed = draw_seed(random_state)
    if criterion in ("energy", "error"):
        U, s = layer.spectrum()
        energy = value if criterion == "energy" else 1 - value**2
        left = U[:, : rank_of_energy(s, energy)]
    else:
        rank = _rank_of(criterion, value, layer.W.shape)
        left = _leading(layer.outputs, rank, to_numpy(W, "W").dtype, seed)
    return as_given(layer.factors(left), W, bias)


def only_one(**criteria):
    """Return the name and the value of the only criterion that is not None."""
    given = {name: value for name, value in criteria.items() if value is not None}
    if len(given) != 1:
        found = ", ".join(f"{name}={value}" for name, value in given.items()) or "none"
        raise ValueError(
            f"Exactly one of {', '.join(criteria)} is needed, but got {found}."
        )
    return given.popitem()


def as_given(factors, W, bias=None) -> LowRankFactors:
    """Return factors of the library and precision that W has, and bias of its own."""
    left, right = like(factors.left, W), like(factors.right, W)
    if bias is not None:
        bias = like(factors.bias, bias)
    return factors._replace(left=left, right=right, bias=bias)


def _rank_of(criterion, value, shape) -> int:
    """Return the rank that `rank` or `compression` means, checked."""
    if criterion == "rank":
        check_rank("rank", value, shape)
        return int(value)
    rank = rank_of_compression(value, shape)
    if not rank:
        raise ValueError(
            f"compression={value} must be at most {shape[0] * shape[1] / sum(shape):.4g}, "
            f"which rank 1 of a {shape[0]} x {shape[1]} matrix gives."
        )
    return rank


def rank_of_compression(value, shape) -> int:
    """Return the largest rank with `value` times fewer entries; 0 where there is none."""
    # A rank that just does, but for rounding, does.
    rounding = 4 * np.finfo(np.float64).eps
    return int(shape[0] * shape[1] / sum(shape) / value * (1 + rounding))


def rank_of_energy(s, energy) -> int:
    """Return the least rank, at least 1, whose singular values hold a share `energy`."""
    kept = np.cumsum(s**2)
    if not kept[-1] > 0:
        return 1
    # Of the last share, only rounding errors may be missing: those of a sum of len(s)
    # terms of one sign, which is no numerical rank.
    enough = energy * kept[-1] - len(s) * np.finfo(np.float64).eps * kept[-1]
    return int(np.argmax(kept >= enough)) + 1


def _leading(Y, rank, dtype, seed):
    """Return leading left singular vectors, as float64 of the precision of `dtype`."""
    if min(Y.shape) >= max(_LARGE, _FEW * rank):
        Y = Y.astype(dtype, copy=False)
        found = randomized_svd(Y, rank, tol=_TOL, random_state=seed)
        return found.U.astype(np.float64)
    return np.linalg.svd(Y, full_matrices=False)[0][:, :rank]
