"""Choices by entries that are held out: of a rank, or of a penalty."""

from __future__ import annotations

import numpy as np

from .biases import without_biases

# Largest rank that is tried.
LARGEST_RANK = 128
# Gain of the error that is worth twice the rank.
_GAIN = 5e-3
# So many penalties in a row that are worse than the best end a path.
_PATIENCE = 2


def split(observed, fraction, rng):
    """Return the entries seen, and about a fraction of all that is hidden, or None.

    At least one is hidden and one is seen, unless the fraction is zero or there is but one.
    """
    if not fraction or observed.nnz < 2:
        return observed, None
    hide = rng.random(observed.nnz) < fraction
    if hide.all() or not hide.any():
        hide[rng.integers(observed.nnz)] ^= True
    return observed.split(hide)


def hold_out(observed, fraction, center, rng):
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


def error_of(hidden, U, V):
    """Return the root mean squared error of ``U V^T`` on entries."""
    product = hidden.sampled_product(U, V) if U.shape[1] else 0
    return float(np.sqrt(np.square(hidden.values - product, dtype=np.float64).mean()))


def grow_rank(error_of_rank, *, first, most, between=True):
    """Return a rank of small error, of doublings until it no longer falls, and between.

    Parameters
    ----------
    error_of_rank : callable
        From a rank to its error.
    first, most : int
        Least and largest rank.
    between : bool, default=True
        Whether ranks between the doublings are tried, by bisection.

    Returns
    -------
    rank : int
    error : float
    """
    best, least, rank, errors = first, np.inf, first, {}
    while rank <= min(most, LARGEST_RANK):
        errors[rank] = error_of_rank(rank)
        # What is not worth a factor twice as large is not taken.
        if errors[rank] >= least * (1 - _GAIN):
            break
        best, least, rank = rank, errors[rank], 2 * rank
    step = best // 2 if between else 0
    while step:
        for rank in (best - step, best + step):
            if 1 <= rank <= most and rank not in errors:
                errors[rank] = error_of_rank(rank)
        near = [rank for rank in (best - step, best, best + step) if rank in errors]
        best = min(near, key=errors.get)
        step //= 2
    return best, errors[best]


def follow_path(path, hidden):
    """Return the alpha of least error along a path of them, the error, and the fit.

    Parameters
    ----------
    path : iterable of (float, LowRankFit)
        Falling alphas, with the fit for each.
    hidden : Observed

    Returns
    -------
    alpha, error : float
    fit : LowRankFit or None
    """
    best_alpha, least, best, worse = 1.0, np.inf, None, 0
    for alpha, found in path:
        error = error_of(hidden, *found.balanced())
        if error < least:
            best_alpha, least, best, worse = alpha, error, found, 0
        else:
            worse += 1
        if worse == _PATIENCE:
            break
    return best_alpha, least, best
