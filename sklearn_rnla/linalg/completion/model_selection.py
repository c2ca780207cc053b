"""Choices by entries that are held out: of a rank, or of a penalty."""

from collections.abc import Callable
from typing import Any

import numpy as np

from ..._typing import Array
from ...operators.observed import Observed
from .biases import without_biases
from .error_bounds import HeldOutErrors

# Largest rank that is tried.
LARGEST_RANK = 128
# Where fewer are held out than tell how heavy the tails of errors are, all entries are in
# turn, in so many folds: of so few, a fit takes no time.
FEW_FOR_TAILS, _FOLDS = 2**10, 10
# Gain of the error that is worth twice the rank.
_GAIN = 5e-3
# So many penalties in a row that are worse than the best end a path.
_PATIENCE = 2


def split(observed: Observed, fraction: float, rng: np.random.Generator) -> tuple[Any, Any]:
    """Return the entries seen, and about a fraction of all that is hidden, or None.

    At least one is hidden and one is seen, unless the fraction is zero or there is but one.
    """
    if not fraction or observed.nnz < 2:
        return observed, None
    hide = rng.random(observed.nnz) < fraction
    if hide.all() or not hide.any():
        hide[rng.integers(observed.nnz)] ^= True
    return observed.split(hide)


def hold_out(
    observed: Observed, fraction: float, center: bool, rng: np.random.Generator
) -> tuple[Any, Any]:
    """Hold out entries, and take the biases of the others from both.

    Parameters
    ----------
    observed : Observed
    fraction : float
        Share of the entries to hold out.
    center : bool
        Whether there are biases.
    rng : numpy.random.Generator

    Returns
    -------
    seen, hidden : Observed or None
        None, both, where nothing can be held out.
    """
    seen, hidden = split(observed, fraction, rng)
    if hidden is None:
        return None, None
    biases, residual = without_biases(seen, center)
    return residual, biases.residual(hidden) if center else hidden


def errors_of(hidden: Any, U: Array, V: Array) -> HeldOutErrors:
    """Return the errors of ``U V^T`` on entries."""
    product = hidden.sampled_product(U, V) if U.shape[1] else 0
    return HeldOutErrors.at(hidden, hidden.values - product)


def errors_in_folds(
    observed: Observed, fit: Any, center: bool, rng: np.random.Generator
) -> Any:
    """Return the errors of all entries, each predicted by a fit that did not see it.

    Parameters
    ----------
    observed : Observed
        At least two entries.
    fit : callable
        From entries without biases to factors U and V.
    center : bool
        Whether there are biases.
    rng : numpy.random.Generator

    Returns
    -------
    HeldOutErrors
    """
    fold, found = rng.permutation(observed.nnz) % _FOLDS, []
    for number in range(min(_FOLDS, observed.nnz)):
        seen, hidden = observed.split(fold == number)
        biases, residual = without_biases(seen, center)
        left = biases.residual(hidden) if center else hidden
        found.append(errors_of(left, *fit(residual)))
    return HeldOutErrors(*map(np.concatenate, zip(*found, strict=True)))


def grow_rank(
    error_of_rank: Callable[[int], float], *, first: int, most: int, penalised: bool = False
) -> Any:
    """Return a rank of small error, of doublings until it no longer falls, and between.

    Parameters
    ----------
    error_of_rank : callable
        From a rank to its error.
    first, most : int
        Least and largest rank of the doublings.
    penalised : bool, default=False
        Whether a rank that is too large does little harm. If so, the answer is the least
        rank below the best doubling that is nearly as good; else, the best on either side.

    Returns
    -------
    rank : int
    """
    best, least, rank, errors = first, np.inf, first, {}
    while rank <= min(most, LARGEST_RANK):
        errors[rank] = error_of_rank(rank)
        # What is not worth a factor twice as large is not taken.
        if errors[rank] >= least * (1 - _GAIN):
            break
        best, least, rank = rank, errors[rank], 2 * rank
    return (_below if penalised else _beside)(best, most, errors, error_of_rank)


def _below(best, most, errors, error_of_rank):
    """Return the least rank, from half of `best` on, that is not worse, by bisection."""
    least, worse = errors[best], best // 2 if best // 2 in errors else 0
    while best - worse > 1:
        rank = (best + worse) // 2
        error = error_of_rank(rank)
        if error <= least * (1 + _GAIN):
            best, least = rank, min(least, error)
        else:
            worse = rank
    return best


def _beside(best, most, errors, error_of_rank):
    """Return the best rank from half of `best` to its 1.5-fold, by bisection."""
    step = best // 2
    while step:
        for rank in (best - step, best + step):
            if 1 <= rank <= most and rank not in errors:
                errors[rank] = error_of_rank(rank)
        near = [rank for rank in (best - step, best, best + step) if rank in errors]
        best = min(near, key=errors.get)
        step //= 2
    return best


def follow_path(path: Any, hidden: Observed) -> tuple[float, Any]:
    """Return the alpha of least error along a path of them, and the fit.

    Parameters
    ----------
    path : iterable of (float, LowRankFit)
        Falling alphas, with the fit for each.
    hidden : Observed

    Returns
    -------
    alpha : float
    fit : LowRankFit
    """
    best_alpha, least, best, worse = 1.0, np.inf, None, 0
    for alpha, found in path:
        error = errors_of(hidden, *found.balanced()).rms
        if error < least:
            best_alpha, least, best, worse = alpha, error, found, 0
        else:
            worse += 1
        if worse == _PATIENCE:
            break
    return best_alpha, best
