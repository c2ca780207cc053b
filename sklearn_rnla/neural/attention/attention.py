"""Self-attention whose cost is linear in the length of the sequence."""

from functools import partial
from numbers import Integral, Real
from typing import Any, Literal, overload

import numpy as np

from ..._random import draw_seed, generator
from ..._sklearn import (
    Interval,
    StrOptions,
    validate_parameter_constraints,
    validated,
)
from ..._typing import Array, ArrayLike, Float, Int, Seed, Tensor
from ...operators.scaling import refuse_overflow
from ..arrays import all_finite, is_tensor, to_numpy
from .landmarks import Segments, cluster_means, given_tokens, pivot_means, segment_means
from .pseudo_inverse import checkpoint_pinv, newton_pinv
from .softmax import NumpyArrays, namespace_of, softmax_between

# Ways of choosing landmarks.
METHODS = ("segment-means", "kmeans", "rpcholesky")

PINV = [StrOptions({"newton", "exact", "checkpoint"})]
TOL = [Interval(Real, 0, 1, closed="left"), None]

# Landmarks, unless told.
_N_LANDMARKS = 64

# What Newton's iteration leaves of the landmarks' matrix. On the queries and keys of
# trained models, smaller remainders make larger errors: they fit landmarks more closely
# by weights of alternating signs, which other tokens do not share.
_REMAINDER = 0.03


_CONSTRAINTS = {
    "n_landmarks": [Interval(Integral, 1, None, closed="left"), None],
    "pinv": PINV,
    "tol": TOL,
    "scale": [Interval(Real, 0, None, closed="neither"), None],
}


@overload
def nystroem_attention(
    q: Tensor, k: Tensor, v: Tensor, *, return_error: Literal[True], **options: Any
) -> tuple[Tensor, Array]: ...
@overload
def nystroem_attention(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    *,
    n_landmarks: Int | None = None,
    pinv: Literal["newton", "exact", "checkpoint"] = "newton",
    landmarks: str | ArrayLike = "segment-means",
    mask: Tensor | None = None,
    residual_conv: Tensor | None = None,
    scale: Float | None = None,
    tol: Float | None = None,
    return_error: bool = False,
    random_state: Seed = None,
) -> Tensor: ...
def nystroem_attention(
    q,
    k,
    v,
    *,
    n_landmarks=None,
    pinv="newton",
    landmarks="segment-means",
    mask=None,
    residual_conv=None,
    scale=None,
    tol=None,
    return_error=False,
    random_state=None,
):
    """Approximate softmax self-attention in time linear in the number of tokens.

    The queries and keys are represented by landmarks Q and K. If S is the softmax over
    rows, exact attention ``S(q k^T) v`` becomes ``S(q K^T) S(Q K^T)^+ (S(Q k^T) v)``.

    Parameters
    ----------
    q, k : array or tensor of shape (..., n, d)
        Queries and keys of n tokens. The leading dimensions are those of batch and heads.
    v : array or tensor of shape (..., n, d_v)
        Values.
    n_landmarks : int, default=None
        Number m of landmarks. None means 64, or as many as `landmarks` has indices. Unless
        indices are given, attention is exact for sequences of no more than m tokens.
    pinv : {"newton", "exact", "checkpoint"}, default="newton"
        How the pseudo-inverse Z of the landmarks' matrix A is computed:

        - "newton": by matrix products, until ``||A Z A - A|| <= tol ||A||``.
        - "exact": by a singular value decomposition that drops singular values below `tol`
          times the largest.
        - "checkpoint": by six steps of Newton's iteration from a start that depends on the
          whole batch. Published weights were trained with it.

    landmarks : {"segment-means", "kmeans", "rpcholesky"} or array of int, \
            default="segment-means"
        How landmarks are chosen:

        - "segment-means": averages of consecutive tokens.
        - "kmeans": five steps of k-means that start from these averages.
        - "rpcholesky": averages of the tokens nearest to the pivots of a randomly pivoted
          Cholesky factorisation, which is computed on the CPU.
        - an array: indices of tokens, of a shape that broadcasts to (..., m).

    mask : array or tensor of shape (batch, n), default=None
        True or 1 for tokens, false or 0 for padding. Instead of the batch alone, it may
        have more of the leading dimensions of q.
    residual_conv : array or tensor of shape (n_heads, width), default=None
        Weights of a convolution along the tokens, of odd width, that is applied to each
        head's values and added to the result. Heads are the last of the leading dimensions.
    scale : float, default=None
        Factor of ``q k^T``. None means ``1 / sqrt(d)``.
    tol : float, default=None
        Tolerance of the pseudo-inverse, see `pinv`. None means 0.03 for "newton" and
        rounding level for "exact".
    return_error : bool, default=False
        Whether to return an estimate of the error, by `attention_error`, as well. It does
        not cover the convolution.
    random_state : int, RandomState instance, Generator or None, default=None
        Seed of "rpcholesky" and of the tokens on which the error is estimated.

    Returns
    -------
    out : array or tensor of shape (..., n, d_v)
        The result, with the library, dtype and device of q. It is zero for padding.
    error : ndarray of shape (...)
        Estimated relative error of each head. Only returned if `return_error` is true.

    Raises
    ------
    TypeError
        If tensors and arrays are mixed, or do not hold real numbers.
    ValueError
        If shapes do not match, an entry is not finite, or the landmarks given for a
        sequence are all padding. Also if the mask is for pairs of tokens, as a causal mask
        is: landmarks cannot represent that.

    See Also
    --------
    attention_error : Estimates the error of any approximation.

    Notes
    -----
    This is equation 13 of Xiong et al. (2021). It takes ``4 n m (d + d_v)`` flops per head
    and about ``6 m^3`` for each step of the inversion. The n x m weights are not stored,
    except for "kmeans" and "rpcholesky". Half precision is computed in single precision.
    Averages are over valid tokens only.

    Tensors can be compiled (also with ``fullgraph=True``), exported, traced and mapped by
    torch. Values are not checked then, and "newton" takes as many steps as any matrix may
    need. "rpcholesky" and `return_error` are refused, as numpy computes them.

    References
    ----------
    Y. Xiong et al. (2021). Nystromformer: a Nystrom-based algorithm for approximating
    self-attention. AAAI.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_rnla import nystroem_attention
    >>> q, k, v = np.random.default_rng(0).standard_normal((3, 2, 4, 100, 8))
    >>> nystroem_attention(q, k, v, n_landmarks=16).shape
    (2, 4, 100, 8)
    """
    space = namespace_of(q=q, k=k, v=v, residual_conv=residual_conv)
    if not space.traced:
        # Not by the decorator of scikit-learn, which torch would not trace.
        checked = {"n_landmarks": n_landmarks, "pinv": pinv, "tol": tol, "scale": scale}
        validate_parameter_constraints(_CONSTRAINTS, checked, "nystroem_attention")
    elif return_error:
        raise ValueError(
            "return_error=True is computed by numpy, which torch cannot compile, export, "
            "trace or map: use attention_error on the result."
        )
    given, (q, k, v) = q, _read(space, q=q, k=k, v=v)
    tokens = _tokens(space, mask, q)
    if not isinstance(landmarks, str):
        landmarks = _indices(landmarks, q.shape, n_landmarks)
    elif landmarks not in METHODS:
        raise ValueError(
            f"landmarks={landmarks!r} must be one of {', '.join(METHODS)}, or indices."
        )
    scale = float(scale or q.shape[-1] ** -0.5)
    _refuse_large_scores(space, q, k, scale)
    with space.in_full(q):
        # A sequence without tokens is computed as one of padding, and set to zero.
        some = None if tokens is None else tokens | ~tokens.any(-1)[..., None]
        out = _attention(
            space,
            q,
            k,
            v,
            some,
            m=int(n_landmarks or _N_LANDMARKS),
            landmarks=landmarks,
            inverse=partial(_inverse, space, pinv, tol),
            scale=scale,
            random_state=random_state,
        )
        if tokens is not None:
            present = tokens[..., None]
            out, v = (space.xp.where(present, x, 0.0) for x in (out, v))
        approximation = out
        if residual_conv is not None:
            out = out + space.convolve(v, _conv_weights(space, residual_conv, v))
            if tokens is not None:
                out = space.xp.where(present, out, 0.0)
    if not (space.traced or all_finite(out)):
        raise ValueError("v is so large that products with it overflow: scale it down.")
    out = space.give(out, given)
    if not return_error:
        return out
    seen = {"mask": mask, "scale": scale, "random_state": random_state}
    return out, attention_error(approximation, q, k, v, **seen)


def _attention(space, q, k, v, tokens, *, m, landmarks, inverse, scale, random_state):
    """Return attention of validated arrays; of each matrix, some token is valid."""
    n = q.shape[-2]
    few = None
    if not isinstance(landmarks, str):
        chosen = given_tokens(space, landmarks, q, k, tokens)
    elif n <= m:
        return space.attend(q, k, v, scale, tokens)
    else:
        segments = Segments(tokens, n, m, space, q)
        if landmarks == "segment-means":
            chosen = segment_means(segments, q, k)
        elif landmarks == "kmeans":
            chosen = cluster_means(space, segments, q, k, tokens)
        else:
            seed = draw_seed(random_state)
            chosen = pivot_means(space, q, k, tokens, m, scale, seed)
        if tokens is not None:
            few = tokens.sum(-1) <= m
    A = softmax_between(space, chosen.q, chosen.k, scale, chosen.valid_q, chosen.valid_k)
    values = inverse(A) @ space.attend(chosen.q, k, v, scale, tokens)
    if few is not None and (space.traced or few.any()):
        # Landmarks are the tokens themselves, so that their values are exact.
        values = space.xp.where(few[..., None, None], segments.means(v), values)
    return space.attend(q, chosen.k, values, scale, chosen.valid_k)


def _inverse(space, pinv, tol, A):
    if pinv == "checkpoint":
        return checkpoint_pinv(space, A)
    # Not the `numerical_rank`: all is in the precision of the softmax, in any library.
    rounding = A.shape[-1] * space.xp.finfo(A.dtype).eps
    if pinv == "newton":
        return newton_pinv(space, A, max(_REMAINDER if tol is None else tol, rounding))
    return space.pinv(A, max(tol or 0.0, rounding))


@validated(
    n_samples=[Interval(Integral, 1, None, closed="left")],
    scale=[Interval(Real, 0, None, closed="neither"), None],
)
def attention_error(
    out: Tensor,
    q: Tensor,
    k: Tensor,
    v: Tensor,
    *,
    n_samples: Int = 64,
    mask: Tensor | None = None,
    scale: Float | None = None,
    random_state: Seed = None,
) -> Array:
    """Estimate how far an approximation is from exact attention.

    Parameters
    ----------
    out : array or tensor of shape (..., n, d_v)
        The approximation, without convolution.
    q, k : array or tensor of shape (..., n, d)
        Queries and keys.
    v : array or tensor of shape (..., n, d_v)
        Values.
    n_samples : int, default=64
        Number of tokens of each sequence, drawn without replacement, for which attention
        is computed exactly. If these are all tokens, the error is exact.
    mask : array or tensor of shape (batch, n), default=None
        True for tokens and false for padding, see `nystroem_attention`.
    scale : float, default=None
        Factor of ``q k^T``. None means ``1 / sqrt(d)``.
    random_state : int, RandomState instance, Generator or None, default=None
        Seed.

    Returns
    -------
    ndarray of shape (...)
        The error ``||out - exact||_F / ||exact||_F`` of each head, over the drawn tokens,
        in float64.

    Raises
    ------
    TypeError, ValueError
        If the inputs are not as in `nystroem_attention`.

    See Also
    --------
    nystroem_attention : Computes the approximation.

    Notes
    -----
    It takes ``2 n_samples n (d + d_v)`` flops per head, on the CPU and in float64.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_rnla.neural import attention_error, nystroem_attention
    >>> q, k, v = np.random.default_rng(0).standard_normal((3, 100, 8))
    >>> out = nystroem_attention(q, k, v, n_landmarks=100)
    >>> bool(attention_error(out, q, k, v) < 1e-12)
    True
    """
    space = NumpyArrays()
    q, k, v = _read(space, q=q, k=k, v=v)
    out = to_numpy(out, "out")
    if out.shape != v.shape:
        raise ValueError(f"out has shape {out.shape}, but v has shape {v.shape}.")
    q, k, v, out = (x.astype(np.float64, copy=False) for x in (q, k, v, out))
    scale = float(scale or q.shape[-1] ** -0.5)
    _refuse_large_scores(space, q, k, scale)
    # The error is relative: in this unit, squares neither overflow nor vanish.
    exponent = np.frexp(max(np.abs(v).max(), np.abs(out).max()))[1]
    v, out = np.ldexp(v, -exponent), np.ldexp(out, -exponent)
    tokens = _tokens(space, mask, q)
    if tokens is None:
        tokens = np.ones((1,) * (q.ndim - 2) + (q.shape[-2],), dtype=bool)
    rows, drawn = _sample(tokens, int(n_samples), generator(random_state))
    some = tokens | ~tokens.any(axis=-1, keepdims=True)
    exact = space.attend(space.take_rows(q, rows), k, v, scale, some)
    wrong = space.take_rows(out, rows) - exact
    wrong, total = ((np.square(x).sum(-1) * drawn).sum(-1) for x in (wrong, exact))
    return np.sqrt(wrong / np.where(total > 0, total, 1.0))


def _sample(tokens, size, rng):
    """Return indices of valid tokens, and which of the indices there are."""
    size = min(size, tokens.shape[-1])
    keys = np.where(tokens, rng.random(tokens.shape), np.inf)
    rows = np.argsort(keys, axis=-1)[..., :size]
    return rows, np.take_along_axis(tokens, rows, -1)


def _read(space, **arrays):
    """Return queries, keys and values, checked against each other, in one dtype."""
    q, k, v = (space.read(x, name) for name, x in arrays.items())
    if q.ndim < 2:
        raise ValueError(f"q has shape {tuple(q.shape)}, but (..., n, d) is expected.")
    if q.shape != k.shape or q.shape[:-1] != v.shape[:-1]:
        raise ValueError(
            f"q has shape {tuple(q.shape)}, k {tuple(k.shape)} and v {tuple(v.shape)}: q "
            "and k must have one shape, and v the same but for its last dimension."
        )
    dtype = (q[..., :1, :1] + k[..., :1, :1] + v[..., :1, :1]).dtype
    return [space.cast(x, dtype) for x in (q, k, v)]


def _refuse_large_scores(space, q, k, scale):
    """Raise ValueError where scores, the products of queries and keys, may overflow."""
    if space.traced:
        return
    # Torch warns of numbers taken from what has a gradient.
    q, k = (x.detach() if is_tensor(x) else x for x in (q, k))
    q_most, k_most = (max(float(x.max()), -float(x.min())) for x in (q, k))
    most = float(space.xp.finfo(q.dtype).max) / (max(scale, 1.0) * q.shape[-1])
    # The scales of two factors may differ: only that of their product matters.
    refuse_overflow("q and k", (q_most * k_most) ** 0.5, most**0.5, "products")


def _tokens(space, mask, q):
    """Return which tokens are valid, of as many dimensions as the shape of q, less one.

    None where all are.
    """
    if mask is None:
        return None
    *lead, n, _ = q.shape
    is_valid = _as_booleans(space, mask, q)
    shape = tuple(is_valid.shape)
    fits = 1 <= len(shape) <= len(lead) + 1
    if not fits or shape != (*lead[: len(shape) - 1], n):
        if shape[-2:] == (n, n):
            raise ValueError(
                f"mask has shape {shape}: one for pairs of tokens, as a causal mask, "
                "has no form that is linear in their number. A mask of padding has shape "
                f"(batch, n={n})."
            )
        raise ValueError(
            f"mask has shape {shape}, but {(*lead[:1], n)} is expected, the batch and "
            "the tokens of q."
        )
    if not space.traced and is_valid.all():
        return None
    inner = (1,) * (len(lead) + 1 - len(shape))
    return is_valid.reshape(*shape[:-1], *inner, n)


def _as_booleans(space, mask, q):
    """Return a mask as q came, checked unless it is traced."""
    if not space.traced:
        values = mask.detach().cpu() if is_tensor(mask) else mask
        if is_tensor(values) and values.is_floating_point():
            values = values.float()
        values = np.asarray(values)
        if values.dtype.kind not in "biu" or np.any(values != values.astype(bool)):
            raise ValueError(
                "mask must be of booleans, or of the integers 0 and 1: true for tokens, "
                f"false for padding. It is of {values.dtype}."
            )
        if not is_tensor(mask) or not is_tensor(q):
            mask = values.astype(bool)
    return space.constant(mask, q) != 0


def _indices(landmarks, shape, n_landmarks):
    """Return indices of landmarks, checked."""
    if hasattr(landmarks, "detach"):
        landmarks = landmarks.detach().cpu()
    indices = np.asarray(landmarks)
    *lead, n, _ = shape
    if indices.dtype.kind not in "iu" or not 1 <= indices.ndim <= len(lead) + 1:
        raise ValueError(
            f"landmarks must be one of {', '.join(METHODS)}, or integers of a shape that "
            f"broadcasts to (..., m), not of shape {indices.shape} and {indices.dtype}."
        )
    try:
        np.broadcast_to(indices[..., 0], lead)
    except (ValueError, IndexError) as error:
        raise ValueError(
            f"landmarks has shape {indices.shape}, which does not fit (*{lead}, m)."
        ) from error
    if indices.min() < 0 or indices.max() >= n:
        raise ValueError(
            f"landmarks has indices from {indices.min()} to {indices.max()}, but must be "
            f"from 0 to n - 1 = {n - 1}."
        )
    m = indices.shape[-1]
    if n_landmarks not in (None, m):
        raise ValueError(f"n_landmarks={n_landmarks}, but landmarks has {m} indices.")
    return indices.astype(np.int64)


def _conv_weights(space, weights, v):
    """Return the weights of the convolution, checked against the values."""
    shape = tuple(np.shape(weights))
    if v.ndim < 3 or len(shape) != 2 or shape[0] != v.shape[-3] or shape[1] % 2 == 0:
        raise ValueError(
            f"residual_conv has shape {shape}, but (n_heads, width) is expected, of an odd "
            f"width and the heads of v, which has shape {tuple(v.shape)}."
        )
    return space.cast(space.read(weights, "residual_conv"), v.dtype)
