"""Principal components: right singular vectors, and the variances along them."""

from typing import Any, NamedTuple

import numpy as np

from ..._typing import Array, DTypeLike
from ...operators import Block, CenteredMatrix, Moments, RowMatrix
from ...operators.rows import add_states
from ...operators.scaling import held
from .gram import RightSVD
from .incremental import n_rows_kept, n_wanted, summarize
from .one_view import one_view_right_svd
from .truncated_svd import right_svd

# The mean of a coordinate may exceed its standard deviation (squared) by this much: their
# difference loses that factor in accuracy.
_LARGEST_RATIO = {np.dtype(np.float32): 1e2, np.dtype(np.float64): 1e8}

# A sum of weights is one where it differs from it by no more than this many roundings.
_ROUNDINGS = 64


class PrincipalComponents(NamedTuple):
    """Leading principal components of weighted rows, in the dtype of the rows.

    Attributes
    ----------
    components : ndarray of shape (k, n_features)
        Orthonormal rows.
    singular_values : ndarray of shape (k,)
        Of the rows about their centre, in decreasing order.
    mean : ndarray of shape (n_features,)
        The centre: the mean of the rows, or the origin.
    second_moments : ndarray of shape (k,)
        Mean squares of the coordinates about the centre, in float64.
    explained_variance : ndarray of shape (k,)
        Variances of the coordinates.
    explained_variance_ratio : ndarray of shape (k,)
        The same as shares of the total variance.
    noise_variance : float
        Mean of the second moments left out.
    exponent : int
        `second_moments`, `noise` and `moments` are of the rows divided by two to this
        power, so that their squares are in range.
    noise : float
        The variance of the noise, of these.
    moments : Moments
        Of these, about the centre.
    error_estimate : float
        See `RightSVD`.
    converged : bool
        See `RightSVD`.
    """

    components: np.ndarray
    singular_values: np.ndarray
    mean: np.ndarray
    second_moments: np.ndarray
    explained_variance: np.ndarray
    explained_variance_ratio: np.ndarray
    noise_variance: float
    exponent: int
    noise: float
    moments: Moments
    error_estimate: float
    converged: bool


def principal_components(
    A: CenteredMatrix, rule: Any, settings: Any, *, rng: np.random.Generator
) -> PrincipalComponents:
    """Compute leading principal components.

    Parameters
    ----------
    A : CenteredMatrix
    rule : callable
        See `right_svd`; of a fixed rank, with "one-view".
    settings : Settings
        Of `right_svd`; the algorithm "one-view" is `one_view_right_svd`.
    rng : Generator

    Raises
    ------
    ValueError
        When the weights are too small for a variance.
    """
    if A.center and A.rows.weight is not None:
        _check_total_weight(A.rows.weight.sum(dtype=np.float64), A.dtype)
    k = rule.first_guess
    if k == 0:
        triplets = no_triplets(A)
    elif settings.algorithm == "one-view":
        triplets = one_view_right_svd(A, k, rng=rng)
    else:
        k, triplets = right_svd(A, rule, settings, rng=rng)
    return components_of(
        k,
        triplets,
        A.moments,
        A.rows.n_samples,
        center=A.center,
        dtype=A.dtype,
        exponent=A.rows.exponent,
        A=A,
    )


def no_triplets(A: Any) -> RightSVD:
    """Return the best approximation of rank 0, once the moments are known."""
    A.find_moments()
    s, V = np.zeros(0), np.zeros((0, A.shape[1]), A.dtype)
    return RightSVD(s, V, error_estimate=float(np.finfo(A.dtype).eps), converged=True)


def updated_components(
    rows: RowMatrix, rule: Any, *, center: bool, summary: Any = None
) -> tuple[PrincipalComponents, Any]:
    """Compute leading principal components of rows added to those of a summary.

    Parameters
    ----------
    rows : RowMatrix
        Read once, in order.
    rule : callable
        See `right_svd`.
    center : bool
        Whether the centre is the mean.
    summary : RowSummary, default=None
        That `rule` is supported by.

    Returns
    -------
    PrincipalComponents, RowSummary

    Raises
    ------
    ValueError
        When the weights are too small for a variance.
    """
    n_features = rows.shape[1]
    k = n_wanted(rule, n_features)
    # A first sample alone has no variance, whatever its weight.
    many = summary is not None or np.count_nonzero(rows.weight) > 1
    summary = summarize(rows, k, n_rows_kept(k, n_features), center=center, summary=summary)
    if center and rows.weight is not None and many:
        _check_total_weight(summary.total_weight, rows.dtype)
    k, triplets = summary.right_svd(rule)
    found = components_of(
        k,
        triplets,
        summary.moments,
        summary.n_samples,
        center=center,
        dtype=rows.dtype,
        exponent=rows.exponent,
    )
    return found, summary


def components_of(
    k: int,
    triplets: Any,
    moments: Any,
    n_samples: int,
    *,
    center: bool,
    dtype: DTypeLike,
    exponent: int,
    A: Array | None = None,
) -> Any:
    """Return the components that `k` of the triplets stand for.

    The rows of `A` are read once more where differences lose the variance.
    """
    s = triplets.singular_values[:k]
    V = triplets.components[:k]
    # Signs are those of scikit-learn's `svd_flip`.
    V = V * np.sign(V[np.arange(k), np.abs(V).argmax(axis=1)])[:, np.newaxis]
    degrees = moments.total_weight - center
    # A first batch of one sample has no variance yet.
    degrees = degrees if degrees > _rounding(dtype) else np.inf
    second_moments, total = s**2 / degrees, moments.squared_norm / degrees
    explained, left = second_moments, 0.0
    if not center:
        W = V.astype(np.float64, copy=False)
        along = W @ moments.mean
        outside = moments.mean - along @ W
        left = float(outside @ outside)
        explained = np.maximum(second_moments - along**2, 0.0)
        total = max(0.0, total - float(moments.mean @ moments.mean))
        # Below rounding there is nothing to be lost.
        known = np.maximum(explained, np.finfo(dtype).eps * second_moments.max(initial=0))
        lossy = along**2 > _LARGEST_RATIO[np.dtype(dtype)] * known
        if lossy.any() and A is not None and A.rows.rereadable:
            squares, sums, total = A.fold(fold_squares_about, W, moments.mean)
            # What rounding left of the mean.
            shift = sums / degrees
            explained = squares / degrees - (W @ shift) ** 2
            total = total / degrees - float(shift @ shift)
    n_left = min(n_samples, V.shape[1]) - k
    rest = max(0.0, total - float(explained.sum())) + left
    noise, unit = rest / n_left if n_left > 0 else 0.0, 2.0**exponent
    mean = moments.mean if center else np.zeros_like(moments.mean)
    return PrincipalComponents(
        components=V.astype(dtype, copy=False),
        singular_values=(s * unit).astype(dtype),
        mean=(mean * unit).astype(dtype),
        second_moments=second_moments,
        explained_variance=held(np.ldexp(explained, 2 * exponent), dtype),
        explained_variance_ratio=shares(explained, total, dtype),
        noise_variance=float(np.ldexp(noise, 2 * exponent)),
        exponent=exponent,
        noise=noise,
        moments=moments,
        error_estimate=max(float(np.finfo(dtype).eps), triplets.error_estimate),
        converged=triplets.converged,
    )


def fold_squares_about(
    state: Any, block: Block, V: Array, mean: Array
) -> list[Array | float]:
    """Fold weighted sums about `mean`.

    State: ``[squares of the coordinates along V, rows, squares of all entries]``.
    """
    values = block.values.astype(np.float64)
    weight = np.ones(values.shape[0]) if block.weight is None else block.weight
    if isinstance(values, np.ndarray):
        values -= mean
        Y = values @ V.T
        sums = weight @ values
        squares = weight @ np.einsum("ij,ij->i", values, values)
    else:
        Y = values @ V.T - V @ mean
        # Entries that are not stored lie at minus the mean. They are counted, as what is
        # left of the squared mean would be lost in rounding.
        columns, weights = values.indices, np.repeat(weight, np.diff(values.indptr))
        about = values.data - mean[columns]
        absent = weight.sum() - np.bincount(columns, weights, minlength=len(mean))
        sums = np.bincount(columns, weights * about, minlength=len(mean)) - absent * mean
        squares = weights @ about**2 + absent @ mean**2
    return add_states(state, [weight @ Y**2, sums, float(squares)])


def shares(parts: Array, whole: float, dtype: DTypeLike) -> Array:
    """Return ``parts / whole`` in `dtype`, zero for a whole of zero.

    Their sums, which rounding may raise above one, are at most one.
    """
    if not whole > 0:
        return np.zeros(len(parts), dtype)
    ratio = (parts / max(whole, parts.sum())).astype(dtype)
    while max(ratio.sum(), ratio.cumsum().max(initial=0)) > 1:
        ratio *= 1 - np.finfo(dtype).eps
    return ratio


def _check_total_weight(total, dtype):
    """Raise ValueError where weights leave no degree of freedom for a variance."""
    if total - 1 <= _rounding(dtype):
        raise ValueError(
            f"sample_weight sums to {total:.15g}, but a variance needs more than 1: "
            "weights count repetitions."
        )


def _rounding(dtype):
    return _ROUNDINGS * np.finfo(dtype).eps
