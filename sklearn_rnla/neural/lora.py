"""Starts of low-rank adapters: which part of a weight matrix is to be trained."""

from __future__ import annotations

import operator
from numbers import Integral, Real
from typing import NamedTuple

import numpy as np

from .._random import draw_seed, stream
from .._sklearn import Interval, StrOptions, validate_params
from .._validation import check_rank
from ..linalg import randomized_svd
from ..linalg.singular.choice import block_width
from ..linalg.singular.inverse_krylov import inverse_krylov
from ..linalg.singular.two_sided_krylov import two_sided_krylov
from ..operators.scaling import unit_of
from .arrays import like, to_numpy
from .compression.inputs import moments_of, root_of

# The default ridge, in units of ``n_in / n_samples``, as in `low_rank_factorize`.
_RIDGE = 0.5

# A side this small, or this share of all directions, is not worth an iteration.
_DENSE_SIZE = 256
_DENSE_SHARE = 0.25

# Excess Frobenius error of what is then computed.
_FALLBACK_TOL = 1e-4

# Vectors iterated beyond those wanted.
_OVERSAMPLES = 8

_MAX_ITER = 30


class LoraInit(NamedTuple):
    """A weight matrix ``W = W_residual + scale * B @ A``.

    Attributes
    ----------
    A : ndarray or tensor of shape (rank, n_in)
        What inputs are multiplied by first.
    B : ndarray or tensor of shape (n_out, rank)
        What comes after.
    W_residual : ndarray or tensor of shape (n_out, n_in)
        What is to be frozen.
    scale : float
        ``alpha / rank``.
    singular_values : ndarray of shape (rank,)
        Of ``scale * B @ A``, in decreasing order.
    error_estimate : float
        Estimated relative error of the energy (the sum of squares) of ``scale * B @ A``,
        or of its outputs for the activations: what it lacks of the most that is possible
        at this rank, or, of "residual", has above the least.
    """

    A: np.ndarray
    B: np.ndarray
    W_residual: np.ndarray
    scale: float
    singular_values: np.ndarray
    error_estimate: float


class _Part(NamedTuple):
    """A matrix of low rank, ``U diag(s) Vt``, and the estimate of its error."""

    U: np.ndarray
    s: np.ndarray
    Vt: np.ndarray
    error_estimate: float


@validate_params(
    {
        "rank": [Interval(Integral, 1, None, closed="left")],
        "method": [StrOptions({"principal", "residual", "activation", "random"})],
        "alpha": [Interval(Real, 0, None, closed="neither"), None],
        "ridge": [Interval(Real, 0, None, closed="left"), None],
        "tol": [Interval(Real, 0, None, closed="left")],
    },
    prefer_skip_nested_validation=True,
)
def lora_init(
    W,
    rank,
    *,
    method="principal",
    alpha=None,
    activations=None,
    ridge=None,
    tol=0.05,
    random_state=None,
):
    """Split a weight matrix into a frozen one and a low-rank adapter to train.

    Parameters
    ----------
    W : array-like or tensor of shape (n_out, n_in)
        Weights of a linear layer, ``x -> W x``. Half precision is computed in single.
    rank : int
        Rank of the adapter, at most ``min(W.shape)``.
    method : {"principal", "residual", "activation", "random"}, default="principal"
        Which part of W the adapter starts from:

        - "principal": its leading singular directions (PiSSA);
        - "residual": its last ones, so that what is trained disturbs the rest of W least
          (MiLoRA);
        - "activation": the leading directions of the outputs for `activations`: of all
          parts of this rank, that which these outputs need most (as in CorDA);
        - "random": none of it, A is random and B zero (LoRA).
    alpha : float, default=None
        The product B A is scaled by ``alpha / rank``; None is `rank`.
    activations : array-like or tensor of shape (..., n_in), default=None
        Inputs of the layer, for "activation". All but the last dimension are samples.
    ridge : float, default=None
        What is added to the diagonal of their second moments, relative to its mean: few
        samples do not tell which directions other inputs have. None is half of ``n_in /
        n_samples``.
    tol : float, default=0.05
        Relative error of the energy at which iterations stop, see `LoraInit`. Where
        singular values decay, it is mostly about a hundredth of that by then.
    random_state : int, RandomState instance, Generator or None, default=None
        Seed.

    Returns
    -------
    LoraInit
        ``(A, B, W_residual, scale, singular_values, error_estimate)``. The first three
        are of the library, dtype and device of W, and ``W_residual + scale * B @ A`` is
        W, up to one rounding in that dtype.

    Raises
    ------
    ValueError
        When W has not two dimensions; when W or `activations` has no entry, NaN or
        infinity; when `rank` exceeds ``min(W.shape)``; when `activations` is missing, is
        not n_in wide, or is given with another method; when `alpha` is so small that A or
        B overflow, or W so large that W_residual does.
    TypeError
        When W or `activations` does not hold real numbers.

    See Also
    --------
    sklearn_rnla.linalg.randomized_svd : What finds the directions.

    Notes
    -----
    With ``U diag(s) Vt`` the part of W, ``B = U diag(s / scale)^(1/2)`` and ``A =
    diag(s / scale)^(1/2) Vt`` (Meng, Wang & Zhang 2024, equations 2 and 3). The residual is
    computed from A and B as rounded.

    - "principal": block Krylov iteration from a sample of W, two to four passes of
      ``4 n_out n_in (rank + 8)`` flops; `randomized_svd` where W is small.
    - "residual" (Wang et al. 2025): block Krylov iteration on the inverse of the Gram
      matrix of the smaller side, m, in float64: ``2 m n_out n_in + m^3`` flops. Singular
      values below 1e-8 of the largest are taken for equal.
    - "activation" (Yang et al. 2024, with the leading directions): with ``L L^T = X^T X / n
      + ridge I``, the part of this rank that has the least ``||(W - part) L||_F`` is ``U
      U^T W``, where U are the leading left singular vectors of ``W L``. So nothing is
      inverted. ``n_samples n_in^2 + 2 n_out n_in^2`` flops.

    References
    ----------
    Hu, E. J., et al. (2022). LoRA: Low-rank adaptation of large language models. ICLR.

    Meng, F., Wang, Z., & Zhang, M. (2024). PiSSA: Principal singular values and singular
    vectors adaptation of large language models. NeurIPS 37.

    Wang, H., Li, Y., Wang, S., Chen, G., & Chen, Y. (2025). MiLoRA: Harnessing minor
    singular components for parameter-efficient LLM finetuning. NAACL.

    Yang, Y., et al. (2024). CorDA: Context-oriented decomposition adaptation of large
    language models. NeurIPS 37.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_rnla.neural import lora_init
    >>> W = np.diag([4.0, 3.0, 1.0])
    >>> start = lora_init(W, 1, random_state=0)
    >>> np.abs(start.B @ start.A).round(6)
    array([[4., 0., 0.],
           [0., 0., 0.],
           [0., 0., 0.]])
    >>> np.allclose(start.W_residual + start.scale * start.B @ start.A, W)
    True
    """
    weight = to_numpy(W, "W", ndim=2)
    rank = int(rank)
    check_rank("rank", rank, weight.shape)
    inputs = _check_activations(activations, method, weight.shape[1])
    scale = float(rank if alpha is None else alpha) / rank
    seed = draw_seed(random_state)
    if method == "random":
        return _random_start(W, weight, rank, scale, stream(seed))
    unit = unit_of(weight)
    scaled = weight if unit == 1 else weight / unit
    if method == "principal":
        part = _leading_part(scaled, rank, tol, seed)
    elif method == "residual":
        part = _minor_part(scaled, rank, tol, seed)
    else:
        part = _needed_part(scaled, inputs, ridge, rank, tol, seed)
    roots = np.sqrt(np.maximum(part.s, 0) / scale) * np.sqrt(unit)
    with np.errstate(over="ignore"):
        A = like((roots[:, np.newaxis] * part.Vt).astype(weight.dtype, copy=False), W)
        B = like((part.U * roots).astype(weight.dtype, copy=False), W)
        overflow = f"alpha={alpha} is so small that A or B overflow in the dtype of W."
        # Of the factors as they are given back: their rounding goes into the residual.
        residual = (-scale * _finite(B, overflow)) @ _finite(A, overflow)
        residual += weight
        residual = like(residual, W)
        s = part.s * np.asarray(unit, part.s.dtype)
    _finite(residual, "W is so large that W_residual overflows in its dtype.")
    error = part.error_estimate
    return LoraInit(A, B, residual, scale, singular_values=s, error_estimate=error)


def _finite(cast, message):
    """Return what was cast as W came as numpy has it, where it has not overflowed."""
    try:
        return to_numpy(cast, "result")
    except ValueError:
        raise ValueError(message) from None


def _check_activations(activations, method, n_in):
    if method == "activation":
        if activations is None:
            raise ValueError("method='activation' needs activations, inputs of the layer.")
        return moments_of(activations, "activations", n_in)
    if activations is not None:
        raise ValueError(f"activations cannot be used with method={method!r}.")
    return None


def _random_start(W, weight, rank, scale, rng):
    """Return LoRA's own start: A uniform with variance 1 / (3 n_in), B zero."""
    n_out, n_in = weight.shape
    A = rng.uniform(-1, 1, (rank, n_in)) / np.sqrt(n_in)
    B = np.zeros((n_out, rank))
    A, B, residual = (like(part, W) for part in (A, B, weight.copy()))
    s = np.zeros(rank, weight.dtype)
    return LoraInit(A, B, residual, scale, singular_values=s, error_estimate=0.0)


def _leading_part(W, rank, tol, seed):
    """Return the part of W in its leading singular directions."""
    m = min(W.shape)
    found = None
    if m > _DENSE_SIZE and rank <= _DENSE_SHARE * m:
        # Singular vectors of neighbouring values are worth the same here, so that it is
        # the energy captured that must converge.
        width = block_width(rank, _OVERSAMPLES, W.shape)
        options = {"error_of": operator.truediv, "max_passes": _MAX_ITER}
        found = two_sided_krylov(W, rank, width, tol=tol, rng=stream(seed), **options)
    if found is None:
        found = randomized_svd(W, rank, tol=_FALLBACK_TOL, random_state=seed)
    return _Part(found.U, found.singular_values, found.Vt, found.error_estimate)


def _needed_part(W, inputs, ridge, rank, tol, seed):
    """Return the part of W that its outputs for the inputs need most."""
    second = inputs.second(center=False)
    n_in = len(second)
    scale = np.trace(second) / n_in
    if not scale > 0:
        return _leading_part(W, rank, tol, seed)
    ridge = _RIDGE * n_in / inputs.count if ridge is None else ridge
    second.flat[:: n_in + 1] += ridge * scale
    outputs = W @ root_of(second).astype(W.dtype, copy=False)
    leading = _leading_part(outputs, rank, tol, seed)
    return _projected(W, np.ascontiguousarray(leading.U.T), leading.error_estimate)


def _minor_part(W, rank, tol, seed):
    """Return the part of W in its last singular directions."""
    m = min(W.shape)
    if m <= _DENSE_SIZE or rank > _DENSE_SHARE * m:
        U, s, Vt = np.linalg.svd(W, full_matrices=False)
        exact = float(np.finfo(W.dtype).eps)
        return _Part(U[:, m - rank :], s[m - rank :], Vt[m - rank :], exact)
    tall = W.shape[0] > W.shape[1]
    wide = (W.T if tall else W).astype(np.float64)
    gram = wide @ wide.T
    width = block_width(rank, _OVERSAMPLES, gram.shape)
    options = {"tol": tol, "max_passes": _MAX_ITER, "rng": stream(seed)}
    Ut, error = inverse_krylov(gram, rank, width, **options)
    part = _projected(wide, Ut, error)
    return part._replace(U=part.Vt.T, Vt=part.U.T) if tall else part


def _projected(W, Ut, error):
    """Return ``U U^T W`` by its singular value decomposition."""
    rotation, s, Vt = np.linalg.svd(Ut @ W, full_matrices=False)
    return _Part(Ut.T @ rotation, s, Vt, error)
