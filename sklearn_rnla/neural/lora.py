"""Starts of low-rank adapters: which part of a weight matrix is to be trained."""

import operator
from numbers import Integral, Real
from typing import Literal, NamedTuple

import numpy as np

from .._random import draw_seed, stream
from .._sklearn import Interval, StrOptions, validated
from .._typing import Float, Int, Seed, Tensor
from .._validation import check_rank
from ..linalg import randomized_svd
from ..linalg.singular.inverse_krylov import inverse_krylov
from ..linalg.singular.truncated_svd import block_width
from ..linalg.singular.two_sided_krylov import two_sided_krylov
from ..operators.scaling import unit_of
from .arrays import like, to_numpy
from .compression.inputs import moments_of, psd_root

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

CONSTRAINTS = {
    "rank": [Interval(Integral, 1, None, closed="left")],
    "method": [StrOptions({"principal", "residual", "activation", "random"})],
    "alpha": [Interval(Real, 0, None, closed="neither"), None],
    "ridge": [Interval(Real, 0, None, closed="left"), None],
    "tol": [Interval(Real, 0, None, closed="left")],
}


class LoraInit(NamedTuple):
    """A weight matrix split into ``W_residual + scale * B @ A``.

    Attributes
    ----------
    A : ndarray or tensor of shape (rank, n_in)
        The factor that inputs are multiplied by first.
    B : ndarray or tensor of shape (n_out, rank)
        The factor that comes second.
    W_residual : ndarray or tensor of shape (n_out, n_in)
        The rest of the matrix, which is to be frozen.
    scale : float
        Factor of the product, ``alpha / rank``.
    singular_values : ndarray of shape (rank,)
        Singular values of ``scale * B @ A``, in decreasing order.
    error_estimate : float
        Estimated relative error of the energy (the sum of squares) of ``scale * B @ A``, or
        of its outputs for "activation": how far it is below the largest energy that any
        part of this rank has, or, for "residual", above the smallest.

    See Also
    --------
    lora_init : Returns it.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_rnla.neural import lora_init
    >>> start = lora_init(np.diag([4.0, 3.0, 1.0]), 2, random_state=0)
    >>> start.A.shape, start.B.shape, start.singular_values.round(6)
    ((2, 3), (3, 2), array([4., 3.]))
    """

    A: np.ndarray
    B: np.ndarray
    W_residual: np.ndarray
    scale: float
    singular_values: np.ndarray
    error_estimate: float


@validated(**CONSTRAINTS)
def lora_init(
    W: Tensor,
    rank: Int,
    *,
    method: Literal["principal", "residual", "activation", "random"] = "principal",
    alpha: Float | None = None,
    activations: Tensor | None = None,
    ridge: Float | None = None,
    tol: Float = 0.05,
    random_state: Seed = None,
) -> LoraInit:
    """Split a weight matrix into a frozen one and a low-rank adapter to train.

    Parameters
    ----------
    W : array-like or tensor of shape (n_out, n_in)
        Weights of a linear layer, ``x -> W x``. Half precision is computed in single
        precision.
    rank : int
        Rank of the adapter, at most ``min(W.shape)``.
    method : {"principal", "residual", "activation", "random"}, default="principal"
        Which part of W the adapter starts from:

        - "principal": its leading singular directions (PiSSA).
        - "residual": its last singular directions, so that training disturbs the rest of
          W as little as possible (MiLoRA).
        - "activation": the part of this rank that the outputs for `activations` need most
          (as in CorDA).
        - "random": no part of W. A is random and B is zero (LoRA).
    alpha : float, default=None
        The product B A is scaled by ``alpha / rank``. None means `rank`, a scale of 1.
    activations : array-like or tensor of shape (..., n_in), default=None
        Inputs of the layer, for "activation". All dimensions but the last one are samples.
    ridge : float, default=None
        Number added to the diagonal of the activations' second moments, relative to the
        mean of that diagonal. It keeps directions in play that few samples do not show.
        None means half of ``n_in / n_samples``.
    tol : float, default=0.05
        Relative error of the energy at which iterations stop, see `LoraInit`. If singular
        values decay, the true error is mostly about a hundredth of that by then.
    random_state : int, RandomState instance, Generator or None, default=None
        Seed.

    Returns
    -------
    LoraInit
        The named tuple ``(A, B, W_residual, scale, singular_values, error_estimate)``. The
        first three have the library, dtype and device of W, and their combination
        ``W_residual + scale * B @ A`` is W up to one rounding in that dtype.

    Raises
    ------
    ValueError
        If W does not have two dimensions; if W or `activations` is empty or has NaN or
        infinity; if `rank` exceeds ``min(W.shape)``; if `activations` is missing, does not
        have n_in columns, or is given with another method; if `alpha` is so small that A
        or B overflows, or W so large that W_residual does.
    TypeError
        If W or `activations` does not hold real numbers.

    See Also
    --------
    sklearn_rnla.linalg.randomized_svd : Finds the directions.

    Notes
    -----
    Let ``U diag(s) Vt`` be the chosen part of W. Then ``B = U diag(s / scale)^(1/2)`` and
    ``A = diag(s / scale)^(1/2) Vt`` (Meng, Wang & Zhang 2024, equations 2 and 3). The
    residual is computed from the rounded A and B.

    - "principal": block Krylov iteration from a sample of W, two to four passes of
      ``4 n_out n_in (rank + 8)`` flops; `randomized_svd` where W is small.
    - "residual" (Wang et al. 2025): block Krylov iteration on the inverse of the Gram
      matrix of the smaller side, of size m, in float64: ``2 m n_out n_in + m^3`` flops.
      Singular values below 1e-8 of the largest are not told apart.
    - "activation" (Yang et al. 2024, with the leading directions): let ``L L^T = X^T X / n
      + ridge I``. Of all parts of this rank, ``U U^T W`` minimises ``||(W - part) L||_F``,
      where U are the leading left singular vectors of ``W L``. So nothing is inverted.
      ``n_samples n_in^2 + 2 n_out n_in^2`` flops.

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
        U, s, Vt, error = _leading_part(scaled, rank, tol, seed)
    elif method == "residual":
        U, s, Vt, error = _minor_part(scaled, rank, tol, seed)
    else:
        U, s, Vt, error = _needed_part(scaled, inputs, ridge, rank, tol, seed)
    roots = np.sqrt(np.maximum(s, 0) / scale) * np.sqrt(unit)
    with np.errstate(over="ignore"):
        A = like((roots[:, np.newaxis] * Vt).astype(weight.dtype, copy=False), W)
        B = like((U * roots).astype(weight.dtype, copy=False), W)
        overflow = f"alpha={alpha} is so small that A or B overflow in the dtype of W."
        # Of the factors as they are given back: their rounding goes into the residual.
        residual = (-scale * _finite(B, overflow)) @ _finite(A, overflow)
        residual += weight
        residual = like(residual, W)
        s = s * np.asarray(unit, s.dtype)
    _finite(residual, "W is so large that W_residual overflows in its dtype.")
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
            raise ValueError("method='activation' needs activations: inputs of the layer.")
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
    """Return ``U, s, Vt`` of the leading directions, and the estimate of its error."""
    m, found = min(W.shape), None
    if m > _DENSE_SIZE and rank <= _DENSE_SHARE * m:
        # Singular vectors of neighbouring values are worth the same here, so that it is
        # the energy captured that must converge.
        width = block_width(rank, _OVERSAMPLES, W.shape)
        options = {"error_of": operator.truediv, "max_passes": _MAX_ITER}
        found = two_sided_krylov(W, rank, width, tol=tol, rng=stream(seed), **options)
    if found is None:
        found = randomized_svd(W, rank, tol=_FALLBACK_TOL, random_state=seed)
    return found.U, found.singular_values, found.Vt, found.error_estimate


def _needed_part(W, inputs, ridge, rank, tol, seed):
    """Return the part of W that its outputs for the inputs need most."""
    second = inputs.second(center=False)
    n_in = len(second)
    scale = np.trace(second) / n_in
    if not scale > 0:
        return _leading_part(W, rank, tol, seed)
    ridge = _RIDGE * n_in / inputs.count if ridge is None else ridge
    second.flat[:: n_in + 1] += ridge * scale
    outputs = W @ psd_root(second).astype(W.dtype, copy=False)
    U, _, _, error = _leading_part(outputs, rank, tol, seed)
    return _projected(W, np.ascontiguousarray(U.T), error)


def _minor_part(W, rank, tol, seed):
    """Return the part of W in its last singular directions."""
    m = min(W.shape)
    if m <= _DENSE_SIZE or rank > _DENSE_SHARE * m:
        U, s, Vt = np.linalg.svd(W, full_matrices=False)
        exact = float(np.finfo(W.dtype).eps)
        return U[:, m - rank :], s[m - rank :], Vt[m - rank :], exact
    tall = W.shape[0] > W.shape[1]
    wide = (W.T if tall else W).astype(np.float64)
    gram = wide @ wide.T
    width = block_width(rank, _OVERSAMPLES, gram.shape)
    options = {"tol": tol, "max_passes": _MAX_ITER, "rng": stream(seed)}
    Ut, error = inverse_krylov(gram, rank, width, **options)
    U, s, Vt, error = _projected(wide, Ut, error)
    return (Vt.T, s, U.T, error) if tall else (U, s, Vt, error)


def _projected(W, Ut, error):
    """Return ``U U^T W`` by its singular value decomposition."""
    rotation, s, Vt = np.linalg.svd(Ut @ W, full_matrices=False)
    return Ut.T @ rotation, s, Vt, error
