"""Completion of a matrix with a penalty on the nuclear norm."""

import numpy as np

from .duality_gap import leading_outside
from .factors import Search, factors_from
from .filled import fill_in, filled_in_pays
from .fit import fit_of, stalled

# Vectors of a block of the certificate.
_BLOCK = 8

# Directions whose excess over the penalty is this share of the largest one's are appended
# together; all, where none exceeds it by more than _NEAR of it.
_LARGE, _NEAR = 0.5, 0.1

# Steps before the rank may grow again; between looks at which singular values vanish.
_GROWTH_STEPS, _PRUNE_STEPS = 8, 4

# A duality gap of less than this many eps is rounding.
_ROUNDING = 50


def soft_impute(
    observed,
    penalty,
    *,
    max_rank=None,
    tol=1e-6,
    max_iter=1000,
    start=None,
    rng,
    report=None,
):
    """Minimise ``1/2 sum_observed (x - m)^2 + penalty ||M||_*``.

    Parameters
    ----------
    observed : Observed
        Of shape (m, n).
    penalty : float
        Positive: without a penalty there are many minima, all zero.
    max_rank : int, default=None
        Most singular values, at most min(m, n), which None means. Where it is too small,
        the minimum is a local one over matrices of that rank, and `gap` tells what the
        limit costs at most.
    tol : float, default=1e-6
        Duality gap, relative to the objective, at which to stop; at least 50 eps.
    max_iter : int, default=1000
        Most steps.
    start : LowRankFit, default=None
        Where to start, such as the solution for a larger penalty; None is zero.
    rng : numpy.random.Generator
        Draws the start vectors of the certificate.
    report : callable, default=None
        Called after each step; a true answer asks to stop.

    Returns
    -------
    LowRankFit

    Notes
    -----
    The minimum over balanced factors ``U V^T`` of penalty ``(||U||^2 + ||V||^2) / 2``
    (Hastie, Mazumder, Lee & Zadeh 2015) by conjugate gradients, with the best step along
    each line, a quartic. The preconditioner moves the middle matrix between the singular
    vectors in the metric of the completed matrix, as Riemannian methods do (Mishra, Meyer,
    Bach & Sepulchre 2013), and scales the rest by counts of entries. A step is about
    ``10 nnz k + 20 (m + n) k^2`` flops.

    The residual, scaled to spectral norm `penalty`, is dual feasible. Its norm is that of a
    part between the factors, which is small and known, and of one outside of them, which
    block Lanczos bounds with a probability of ``1 - 1e-10`` (Kuczynski & Wozniakowski 1992)
    or, once it is within a few percent, by its residual. Directions outside that exceed the
    penalty are appended to the factors; those within that shrink to zero are dropped.

    Matrices with few columns or rows are filled in: proximal steps (Mazumder, Hastie &
    Tibshirani 2010), accelerated, restarted where the objective rises.
    """
    tol = max(tol, _ROUNDING * np.finfo(observed.dtype).eps)
    most = min(observed.shape) if max_rank is None else max_rank
    if filled_in_pays(observed):
        return fill_in(
            observed, penalty, most, tol=tol, max_iter=max_iter, start=start, report=report
        )
    search = Search(observed, *factors_from(start, most, observed), penalty)
    history = [search.point.objective]
    fresh, stuck, last = 0, False, False
    while True:
        # Optimal are factors whose residual R has R V = penalty U, R^T U = penalty V and,
        # outside of them, no singular value above the penalty.
        outside = search.point.outside(tol, max(_BLOCK, fresh), rng)
        gap = search.point.gap(outside.bound)
        if last or len(history) > max_iter or gap <= tol:
            break
        excess = outside.values - penalty
        most_excess = excess.max(initial=0.0)
        # The solution without the first few directions would have others, which go again.
        least = _LARGE * most_excess if most_excess > _NEAR * penalty else 0.0
        large = (excess > 0) & (excess >= least)
        fresh = min(np.count_nonzero(large), most - search.point.rank)
        if fresh:
            left, right = outside.leading(fresh)
            search.grow(left, outside.values[:fresh], right)
        # As long as directions are missing, more accuracy is of no use. Then the factors
        # have half of the tolerance, and what is outside of them the other half.
        goal = max(0.5 * tol, 0.1 * gap) if fresh else 0.5 * tol
        before, rank = len(history), search.point.rank - fresh
        limit = min(max_iter, before + _GROWTH_STEPS - 1 if fresh else max_iter)
        stuck, asked = _descend(search, history, limit, goal, report)
        search.prune()
        history[-1] = search.point.objective
        unchanged = len(history) == before and search.point.rank == rank
        # One more certificate, and no more steps.
        last = asked or unchanged or (stuck and not fresh)
    # With a largest rank there is no certificate.
    stationary = most == search.point.rank and (stuck or search.point.gap(0.0) <= tol)
    return fit_of(search.point.U, search.point.V, gap, history, gap <= tol or stationary)


def _descend(search, history, limit, goal, report):
    """Take steps until the gap, as far as the factors are to blame for it, is small.

    Parameters
    ----------
    search : Search
    history : list of float
        The objective so far, which is appended to.
    limit : int
        Length of `history` at which to stop.
    goal : float
        The gap to reach, if nothing outside of the factors exceeds the penalty.
    report : callable or None

    Returns
    -------
    stuck : bool
        Whether no step was better, or but by rounding.
    asked : bool
        Whether `report` asked to stop.
    """
    first = len(history) - 1
    while len(history) <= limit and search.point.rank:
        if search.point.gap(search.point.penalty) <= goal:
            break
        if not search.step():
            return True, False
        history.append(search.point.objective)
        asked = report is not None and bool(report())
        stuck = stalled(history[first:], search.point.U.dtype)
        if asked or stuck:
            return stuck, asked
        if len(history) % _PRUNE_STEPS == 0:
            search.prune()
    return False, False


def soft_impute_path(observed, penalties, *, rng, start=None, **params):
    """Yield a `LowRankFit` for each penalty, each the start of the next.

    Parameters
    ----------
    observed : Observed
    penalties : iterable of float
        Falling, from `largest_penalty` or below, for the least work.
    rng : numpy.random.Generator
    start : LowRankFit, default=None
        Where to start the first.
    **params : dict
        As for `soft_impute`.

    Yields
    ------
    LowRankFit
    """
    for penalty in penalties:
        start = soft_impute(observed, penalty, start=start, rng=rng, **params)
        yield start


def largest_penalty(observed, *, rng):
    """Return the least penalty whose solution is zero: the norm of the zero-filled matrix.

    Parameters
    ----------
    observed : Observed
    rng : numpy.random.Generator

    Returns
    -------
    float
    """
    U, V = factors_from(None, 0, observed)
    accuracy = max(1e-9, _ROUNDING * np.finfo(observed.dtype).eps)
    found = leading_outside(observed, observed.values, U, V, _BLOCK, rng, accuracy=accuracy)
    return float(found.values.max(initial=0.0))
