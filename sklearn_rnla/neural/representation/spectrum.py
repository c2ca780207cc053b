"""The spectrum of a representation, and how many dimensions it has by several counts."""

from numbers import Integral, Real
from typing import NamedTuple

import numpy as np
import scipy.optimize

from ..._random import generator
from ..._sklearn import Interval, validated
from ..._typing import Blocks, Float, Int, MatrixLike, Seed
from ...linalg.singular.incremental import summarize
from ...linalg.singular.rank_rules import FixedRank
from ...linalg.singular.truncated_svd import Settings, right_svd
from ...operators import CenteredMatrix
from .activations import WIDEST, activation_rows, in_process, sample_gram
from .joint_moments import is_constant, is_rounding

# Leading eigenvalues of what is wider than that.
_LEADING = 256

# Rows of a batch whose rounding is allowed for: more would be taken for signal.
_MOST_ROUNDED = 10**6

# Shares of the variance that directions are counted for.
SHARES = (0.9, 0.95, 0.99)


class Dimensionality(NamedTuple):
    """How many dimensions a spectrum has, by several counts.

    Attributes
    ----------
    effective_rank : float
        Exponential of the entropy of the eigenvalues, taken as fractions of their sum.
    participation_ratio : float
        Squared sum of the eigenvalues divided by the sum of their squares.
    stable_rank : float
        Sum of the eigenvalues divided by the largest.
    n_directions : ndarray of shape (3,)
        Smallest numbers of principal directions that hold 90, 95 and 99 % of the variance.

    See Also
    --------
    representation_spectrum : Computes these counts.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_rnla import representation_spectrum
    >>> X = np.random.default_rng(0).standard_normal((2000, 3)) * [1.0, 1.0, 0.1]
    >>> found = representation_spectrum(X)
    >>> found.upper.n_directions, round(found.upper.participation_ratio)
    (array([2, 2, 2]), 2)
    """

    effective_rank: float
    participation_ratio: float
    stable_rank: float
    n_directions: np.ndarray


class RepresentationSpectrum(NamedTuple):
    """Eigenvalues of the covariance of activations, and the dimensions they imply.

    If only the leading eigenvalues are known, the counts assume that the others follow a
    power law with the right sum, and `lower` and `upper` bound what they can be.

    Attributes
    ----------
    eigenvalues : ndarray of shape (k,)
        Eigenvalues in decreasing order, in float64: all ``min(n_samples, n_features)`` of
        them, or the leading ones. They underflow to 0 for activations below about 1e-154,
        and overflow to infinity above 1e154; the counts of dimensions do not.
    total_variance : float
        Sum of all eigenvalues. It is exact even if only the leading ones are known.
    effective_rank : float
        Exponential of the entropy of the eigenvalues, see `Dimensionality`. This count and
        the next three are zero if nothing varies.
    participation_ratio : float
        Squared sum of the eigenvalues divided by the sum of their squares.
    stable_rank : float
        Total variance divided by the largest eigenvalue.
    n_directions : ndarray of shape (3,)
        Smallest numbers of directions that hold 90, 95 and 99 % of the variance.
    lower : Dimensionality
        The smallest values that the four counts can have, whatever the unknown eigenvalues
        are. If all are known, these are the counts themselves.
    upper : Dimensionality
        The largest values that they can have.
    n_samples : int
        Number of rows.

    See Also
    --------
    representation_spectrum : Returns it.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_rnla import representation_spectrum
    >>> X = np.random.default_rng(0).standard_normal((500, 40)) / np.arange(1, 41)
    >>> found = representation_spectrum(X, n_components=5, random_state=0)
    >>> found.lower.effective_rank < found.effective_rank < found.upper.effective_rank
    True
    """

    eigenvalues: np.ndarray
    total_variance: float
    effective_rank: float
    participation_ratio: float
    stable_rank: float
    n_directions: np.ndarray
    lower: Dimensionality
    upper: Dimensionality
    n_samples: int


@validated(
    n_components=[Interval(Integral, 1, None, closed="left"), None],
    center=["boolean"],
    tol=[Interval(Real, 0, None, closed="left")],
    block_size=[Interval(Integral, 1, None, closed="left"), None],
    n_jobs=[Integral, None],
)
def representation_spectrum(
    X: MatrixLike | Blocks,
    n_components: Int | None = None,
    *,
    center: bool = True,
    tol: Float = 1e-3,
    block_size: Int | None = None,
    n_jobs: Int | None = None,
    random_state: Seed = None,
) -> RepresentationSpectrum:
    """Compute the spectrum of a representation, and its effective dimensions.

    Parameters
    ----------
    X : array-like, tensor, sparse matrix, memmap, dask array or iterator of blocks
        Activations of shape (n_samples, n_features), read in row blocks.
    n_components : int, default=None
        Number of leading eigenvalues to compute. None computes all of them if there are up
        to 4096 features, or samples in memory, and 256 otherwise.
    center : bool, default=True
        If true, use the covariance about the mean, with ``n_samples - 1`` degrees of
        freedom. If false, use the second moments, divided by ``n_samples``.
    tol : float, default=1e-3
        Accuracy of leading eigenvalues, see `RandomizedPCA`. The bounds of the result
        allow for it.
    block_size : int, default=None
        Number of rows of a block.
    n_jobs : int, default=None
        Number of threads over row blocks.
    random_state : int, RandomState instance, Generator or None, default=None
        Seed of the iteration for leading eigenvalues. If all are computed, nothing depends
        on it.

    Returns
    -------
    RepresentationSpectrum
        The named tuple ``(eigenvalues, total_variance, effective_rank,
        participation_ratio, stable_rank, n_directions, lower, upper, n_samples)``.

    Raises
    ------
    ValueError
        If X has NaN or infinity.

    See Also
    --------
    linear_cka : Compares two representations.
    RandomizedPCA : Finds the directions as well.

    Notes
    -----
    The effective rank is that of Roy & Vetterli (2007), of the eigenvalues of the
    covariance; the participation ratio as in Gao et al. (2017). All eigenvalues
    come from the Gram matrix of the features, in one pass of ``n_samples n_features^2``
    flops, or from that of the samples if there are fewer. Eigenvalues below the largest
    times the eps of the dtype are rounding errors.

    If only leading eigenvalues are computed, the sum of the others is known, and so is a
    bound on what the leading ones lack: the iteration's estimate or, for an iterator, what
    was dropped. Each of the four counts is larger for the more even of two spectra of the
    same sum, so that the most even and the most concentrated spectra that are possible
    yield the bounds.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_rnla import representation_spectrum
    >>> X = np.array([[2.0, 0.0], [-2.0, 0.0], [0.0, 2.0], [0.0, -2.0]])
    >>> spectrum = representation_spectrum(X)
    >>> spectrum.eigenvalues.round(3), round(spectrum.effective_rank, 3)
    (array([2.667, 2.667]), 2.0)
    """
    rows = activation_rows(X, "X", block_size=block_size, n_jobs=n_jobs)
    A = CenteredMatrix(rows, center=center).in_safe_unit()
    n_rows, n_features = rows.shape
    by_samples = in_process(rows) and n_rows < n_features
    if (n_rows if by_samples else n_features) <= (n_components or WIDEST):
        gram = sample_gram(A) if by_samples else A.gram()
        squares, slack = np.linalg.eigvalsh(gram)[::-1], 0.0
    else:
        k = min(n_components or _LEADING, *(n for n in rows.shape if n is not None))
        if not rows.rereadable:
            found = spectrum_of_summary(
                summary_of(A.rows, k, center=center), k, center=center
            )
            return times_unit(found, A.rows.exponent)
        squares, slack = _leading_squares(A, k, tol, generator(random_state))
    total = A.moments.squared_norm
    if center and is_constant(A):
        squares, total = np.zeros_like(squares), 0.0
    found = spectrum_of(squares, total, slack, A.shape, center=center)
    return times_unit(found, A.rows.exponent)


def times_unit(spectrum, exponent):
    """Return a spectrum of rows that were divided by two to a power, of them as they were.

    Parameters
    ----------
    spectrum : RepresentationSpectrum
    exponent : int

    Returns
    -------
    RepresentationSpectrum
        Counts of dimensions have no unit.
    """
    with np.errstate(over="ignore"):
        return spectrum._replace(
            eigenvalues=np.ldexp(spectrum.eigenvalues, 2 * exponent),
            total_variance=float(np.ldexp(spectrum.total_variance, 2 * exponent)),
        )


def _leading_squares(A, k, tol, rng):
    """Return the k leading squared singular values, and what their sum may lack."""
    _, result = right_svd(A, FixedRank(k), Settings(tol=tol), rng=rng)
    squares = result.singular_values[:k] ** 2
    tail = max(0.0, A.moments.squared_norm - float(squares.sum()))
    return squares, tail * (1 - (1 + result.error_estimate) ** -2.0)


def summary_of(rows, k, *, center, summary=None):
    """Return the summary of rows read once, of more directions than the k wanted."""
    n_kept = min(rows.shape[1], 2 * k + 32)
    return summarize(rows, k, n_kept, center=center, summary=summary)


def spectrum_of_summary(summary, k, *, center):
    """Return the spectrum of rows of which a `RowSummary` was kept."""
    squares = np.einsum("ij,ij->i", summary.factor, summary.factor)[:k]
    shape = (summary.n_rows, len(summary.mean))
    total, lost = summary.squared_norm, float(summary.dropped.sum())
    if center and _is_constant(summary):
        squares, total, lost = np.zeros_like(squares), 0.0, 0.0
    return spectrum_of(squares, total, lost, shape, center=center)


def _is_constant(summary):
    """Whether the rows of a `RowSummary` are equal, but for rounding."""
    total, n, mean = summary.squared_norm, summary.n_rows, summary.mean
    # The mean of a batch is a plain sum: of equal rows, its rounding grows with them.
    growth = 1 + min(n, _MOST_ROUNDED) / 100
    return is_rounding(total / growth**2, n, mean, np.float64)


def spectrum_of_gram(gram, n_samples, *, center):
    """Return the spectrum of `n_samples` rows with a Gram matrix of the features."""
    squares = np.linalg.eigvalsh(gram)[::-1]
    shape = (n_samples, len(gram))
    return spectrum_of(squares, float(np.trace(gram)), 0.0, shape, center=center)


def spectrum_of(squares, total, slack, shape, *, center):
    """Return the spectrum with some leading eigenvalues known.

    Parameters
    ----------
    squares : ndarray of shape (k,)
        Leading squared singular values, none above the true one.
    total : float
        Sum of all.
    slack : float
        What those known lack, in sum, of the true ones, at most.
    shape : tuple of int
        ``(n_samples, n_features)``.
    center : bool
        Whether the rows were centred.

    Returns
    -------
    RepresentationSpectrum
    """
    n_samples, n_features = shape
    known = np.maximum(squares[: min(shape)], 0.0)
    tail = max(0.0, total - float(known.sum()))
    n_unknown = min(n_samples - center, n_features) - len(known)
    if n_unknown <= 0:
        guess = lower = upper = dimensionality(known)
    else:
        guess = dimensionality(_on_a_power_law(known, tail, n_unknown))
        upper = dimensionality(_most_even(known, tail, n_unknown))
        most = _most_concentrated(known, tail, min(slack, tail), n_unknown)
        lower = dimensionality(most)
    degrees = max(1, n_samples - center)
    return RepresentationSpectrum(
        known / degrees, float(total) / degrees, *guess, lower, upper, n_samples
    )


def dimensionality(spectrum):
    """Return the counts of dimensions of a whole spectrum, in any order."""
    shares = np.sort(spectrum[spectrum > 0])[::-1]
    if not len(shares):
        return Dimensionality(0.0, 0.0, 0.0, np.zeros(len(SHARES), dtype=np.int64))
    shares = shares / shares.sum()
    shares = shares[shares > 0]
    # A share that is met but for rounding is met.
    rounding = len(shares) * np.finfo(np.float64).eps
    enough = np.searchsorted(np.cumsum(shares), np.array(SHARES) - rounding)
    return Dimensionality(
        float(np.exp(-np.sum(shares * np.log(shares)))),
        float(1 / np.sum(shares**2)),
        float(1 / shares[0]),
        enough + 1,
    )


def _most_even(known, tail, n_unknown):
    """Return the spectrum of the same sum, nowhere below `known`, closest to a flat one."""
    level, n_flat = tail / n_unknown, n_unknown
    for value in known[::-1]:
        if value >= level:
            break
        level = (level * n_flat + value) / (n_flat + 1)
        n_flat += 1
    rest = known[: len(known) + n_unknown - n_flat]
    return np.concatenate([rest, np.full(n_flat, level)])


def _most_concentrated(known, tail, slack, n_unknown):
    """Return a spectrum that majorises all that `known` and `slack` allow.

    The largest eigenvalue has all of the slack; of those unknown, as many as can be have
    the most they could.
    """
    head = known.copy()
    head[0] += slack
    # The k-th is at most the mean of it and those before it, however many.
    sums = np.cumsum(known[::-1]) + slack
    most = float(np.min(sums / np.arange(1, len(known) + 1)))
    rest = tail - slack
    if most <= 0 or rest <= 0:
        return head
    # Where both are rounding, the rest may be more than those unknown could be.
    most = max(most, rest / n_unknown)
    n_full = min(int(rest // most), n_unknown - 1)
    return np.concatenate([head, np.full(n_full, most), [rest - n_full * most]])


def _on_a_power_law(known, tail, n_unknown):
    """Return `known` and a tail of the right sum that falls from the last one known."""
    k, last = len(known), known[-1]
    if tail <= 0 or last <= 0 or tail >= n_unknown * last:
        return _most_even(known, tail, n_unknown)
    steps = np.log(np.arange(k + 1, k + n_unknown + 1) / k)

    def excess(exponent):
        return last * np.exp(-exponent * steps).sum() - tail

    # Where the tail falls by this factor at its first value it is as good as none.
    steepest = 300 / steps[0]
    exponent = steepest
    if excess(steepest) < 0:
        exponent = scipy.optimize.brentq(excess, 0.0, steepest)
    unknown = np.exp(-exponent * steps)
    return np.concatenate([known, unknown * (tail / unknown.sum())])
