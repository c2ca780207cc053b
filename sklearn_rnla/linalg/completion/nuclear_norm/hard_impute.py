"""Completion of a matrix by one of given rank."""

import numpy as np

from .duality_gap import leading_outside
from .factors import Search, factors_from
from .filled import fill_in, filled_in_pays
from .fit import fit_of, settled, stalled

# Vectors of a block more than the rank, for the singular vectors to start from.
_OVERSAMPLING = 8


def iterative_svd(observed, rank, *, tol=1e-4, max_iter=1000, rng, report=None):
    """Minimise ``1/2 sum_observed (x - m)^2`` over matrices of a given rank.

    Parameters
    ----------
    observed : Observed
        Of shape (m, n).
    rank : int
        At most min(m, n).
    tol : float, default=1e-4
        Change of the residual's norm in a step, relative to it, on average over three; or
        that norm, relative to the entries', at which to stop.
    max_iter : int, default=1000
        Most steps.
    rng : numpy.random.Generator
        Draws what the start comes from.
    report : callable, default=None
        Called after each step; a true answer asks to stop.

    Returns
    -------
    LowRankFit
        Its gap is infinite: a minimum may be a local one.

    Notes
    -----
    Hard-Impute (Mazumder, Hastie & Tibshirani 2010) replaces the matrix by the best of that
    rank to the observed entries, filled in with the matrix, from zero. Matrices with few
    rows or columns are completed like this, with momentum, given up where the residual
    rises. Others start from the first such step, about, and go on by the conjugate
    gradients of `soft_impute`: what stays where it is, does so for both.
    """
    if filled_in_pays(observed):
        return fill_in(observed, 0.0, rank, tol=tol, max_iter=max_iter, report=report)
    search = Search(observed, *_start(observed, rank, rng), 0.0)
    scale = np.linalg.norm(observed.values.astype(np.float64))
    history = [search.point.objective]
    converged = settled(history, scale, tol)
    while (
        len(history) <= max_iter and not converged and search.point.rank and search.step()
    ):
        history.append(search.point.objective)
        converged = settled(history, scale, tol)
        if (report is not None and report()) or stalled(history, observed.dtype):
            break
    return fit_of(search.point.U, search.point.V, np.inf, history, converged)


def _start(observed, rank, rng) -> tuple[np.ndarray, np.ndarray]:
    """Return balanced factors of about the best matrix of that rank to the zero-filled."""
    U, V = factors_from(None, 0, observed)
    found = leading_outside(
        observed,
        observed.values,
        U,
        V,
        rank + _OVERSAMPLING,
        rng,
        accuracy=0.0,
        above=0.0,
    )
    left, right = found.leading(rank)
    root = np.sqrt(found.values[:rank]).astype(observed.dtype)
    return left * root, right * root
