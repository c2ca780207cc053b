"""Probabilistic principal components of a table with missing entries."""

from copy import copy
from functools import reduce
from typing import NamedTuple

import numpy as np

from ...operators.rows import add_states
from ...operators.threads import kernel_jobs, one_blas_thread, run_lanes, split
from .column_units import ColumnMoments
from .error_bounds import HeldOutErrors, RowErrors
from .gaussian_rows import BLOCK, GaussianRows
from .model import LowRankModel

# Rows that the covariance is estimated from: so many, and so many more for each column.
_ROWS, _ROWS_PER_COLUMN = 8192, 32
# Entries hidden to choose the shrinkage and to tell the error: one of so many parts of so
# many rows, or of more rows, until so many entries are; then more parts, each hidden from
# a fit of its own.
_PARTS, _HIDDEN_ROWS, _ENOUGH_HIDDEN = 10, 2**9, 2**10
# Rows, at most, whose entries tell how errors are distributed.
_TOLD_BY_ROWS = 2**14
# Shrinkage that is tried first, the factor between two tried, how many are at a time, and
# the share of the loss that a move has to gain: the sums still are those of the last one.
_SHRINKAGE, _FACTOR, _TRIALS, _GAIN = 10.0, 3.0, 3, 0.01
# Least eigenvalue of the first covariance, whose pairs of columns have rows of their own.
_START_FLOOR = 1e-2


class HeldOut(NamedTuple):
    """Entries that were hidden from the first steps.

    Attributes
    ----------
    rows : ndarray of int of shape (n_held,)
        Of more than one fit a row may come more than once.
    hidden : ndarray of bool of shape (n_held, p)
        Which entries of those rows.
    filled : ndarray of shape (n_held, p)
        The rows, with conditional means for missing and hidden entries.
    """

    rows: np.ndarray
    hidden: np.ndarray
    filled: np.ndarray


class PPCAResult(NamedTuple):
    """Outcome of the fit.

    Attributes
    ----------
    model : LowRankModel
        Of one sample, without row biases.
    filled : ndarray of shape (n, p)
        The table, with conditional means for missing entries.
    gaussian : GaussianRows
    shrinkage : float
        Rows that the prior of the covariance is worth.
    held_out : HeldOut or None
        None where `shrinkage` was given or too few entries can be spared.
    n_iter : int
        Steps, those of the choice of `shrinkage` included.
    converged : bool
    history : list of float
        Penalised log-likelihood before each step that sees all entries, and after the
        last, of standardised entries, over their number.
    """

    model: LowRankModel
    filled: np.ndarray
    gaussian: GaussianRows
    shrinkage: float
    held_out: HeldOut | None
    n_iter: int
    converged: bool
    history: list

    def errors(self, X, shift=0.0):
        """Return the errors of the hidden entries of the table, with a shift of each."""
        if self.held_out is None:
            return HeldOutErrors.nothing()
        rows, hidden, filled = self.held_out
        places, columns = np.nonzero(hidden)
        errors = (filled - X[rows])[hidden].astype(np.float64) + shift
        return HeldOutErrors(rows[places], columns, errors)

    def likely_errors(self, X):
        """Return errors of all entries, and of those hidden, as other rows predict them.

        Parameters
        ----------
        X : ndarray of shape (n, p)
            The table. Of many rows, some are taken.

        Returns
        -------
        of_known, of_hidden : RowErrors
            Of standardised entries.
        """
        n_fitted = min(len(X), most_rows(X.shape[1]))

        def at(rows, which):
            left = self.gaussian.residuals_without_row(
                self.filled[rows], n_fitted, self.shrinkage
            )
            return RowErrors.of_table(rows, which, left)

        some = np.arange(0, len(X), -(-len(X) // _TOLD_BY_ROWS))
        return at(some, ~np.isnan(X[some])), at(self.held_out.rows, self.held_out.hidden)


def most_rows(n_columns):
    """Return how many rows the covariance is estimated from."""
    return _ROWS + _ROWS_PER_COLUMN * n_columns


def ppca(
    X,
    rank=None,
    *,
    shrinkage=None,
    max_iter=100,
    tol=0.05,
    rng,
    n_jobs=None,
    report=None,
):
    """Fit a Gaussian distribution to the rows of a table with missing entries.

    Parameters
    ----------
    X : ndarray of shape (n, p)
        float32 or float64; NaN where missing. A column without an entry counts as zero.
    rank : int, default=None
        Of the covariance less that of noise, whose size is the same in each standardised
        column. At most, and by default, ``p - 1``.
    shrinkage : float, default=None
        Rows that the prior of the covariance, one in standardised columns, is worth. None
        chooses it by entries that are hidden from the first steps.
    max_iter : int, default=100
        Steps.
    tol : float, default=0.05
        The last step changes the conditional means by less than this times their standard
        deviations, in root mean square. The choice of `shrinkage` also waits until the
        error of hidden entries has stopped falling.
    rng : Generator
    n_jobs : int, default=None
        Threads.
    report : callable, default=None
        Called after each step; true to stop.

    Returns
    -------
    PPCAResult

    Notes
    -----
    Expectation maximisation for the model of Tipping & Bishop (1999), but that

    - missing entries are the only hidden variables, not the factors of rows too: a step is
      the conditional mean and covariance of each row, and the closed form of their section
      3.2 for the covariance of all rows, and takes fewer repetitions;
    - columns are standardised and the covariance has a prior;
    - it starts from the covariances of pairs of columns, and sums over ``8192 + 32 p``
      rows at most, drawn at random.

    A step takes ``O(c^3)`` flops for a row of which c entries are missing, ``O(n p^2)`` for
    all, and ``O(p^3)``: meant for p up to a few hundred.
    """
    n_jobs = kernel_jobs(n_jobs)
    # Products are of small blocks: threads of BLAS would wait for each other.
    with one_blas_thread(None):
        return _ppca(X, rank, shrinkage, max_iter, tol, rng, n_jobs, report)


def _ppca(X, rank, shrinkage, max_iter, tol, rng, n_jobs, report):
    """Fit in two phases: with entries hidden, to choose the shrinkage, then with all."""
    n, p = X.shape
    rank = p - 1 if rank is None else min(rank, p - 1)
    sample = np.arange(n)
    if n > (most := most_rows(p)):
        sample = np.sort(rng.choice(n, most, replace=False))
    start = _SHRINKAGE if shrinkage is None else shrinkage
    fit = _Fit(X if len(sample) == n else X[sample], rank, start, n_jobs, report)
    folds = [] if shrinkage is not None else _folds(fit, rng)
    held_out = None
    if folds:
        held_out = _choose_shrinkage(fit, folds, max(1, max_iter // 2), tol)
        held_out = held_out._replace(rows=sample[held_out.rows])
    else:
        fit.start()
    history = []
    while True:
        # The first distribution has not seen all entries, or only pairs of them.
        converged = fit.expect() <= tol and len(history) > 0
        history.append(fit.log_likelihood)
        if converged or fit.stopped or fit.n_iter >= max_iter:
            break
        fit.maximise()
    filled = fit.filled() if fit.X is X else fit.gaussian.fill(X, n_jobs=n_jobs)
    return PPCAResult(
        model=fit.gaussian.low_rank_model(rank, filled),
        filled=filled,
        gaussian=fit.gaussian,
        shrinkage=fit.shrinkage,
        held_out=held_out,
        n_iter=fit.n_iter,
        converged=converged,
        history=history,
    )


def _choose_shrinkage(fit, folds, max_iter, tol):
    """Take steps that do not see some entries, and choose the shrinkage by these.

    Parameters
    ----------
    fit : _Fit
        Not started; the first fold is of it, and revealed at the end.
    folds : list of _Fold
    max_iter : int
    tol : float

    Returns
    -------
    HeldOut
    """
    for fold in folds:
        fold.fit.start()
    settled, width, best = False, None, np.inf
    while fit.n_iter < max_iter and not (settled or fit.stopped):
        settled = max(fold.fit.expect() for fold in folds) <= tol
        for fold in folds:
            fold.fit.maximise()
        # A choice is as expensive as a step: there is one after 1, 2, 4, ... steps, and
        # one when they end.
        if settled or fit.n_iter & (fit.n_iter - 1) == 0:
            before = best
            moved, width, best = _move_shrinkage(folds, width)
            # In a table without noise, standard deviations shrink along with the steps:
            # means seem to have settled, while the error of hidden entries still falls.
            settled &= not moved and best >= (1 - _GAIN) * before
    filled = np.concatenate([fold.filled() for fold in folds])
    fit.reveal(folds[0].rows, folds[0].hidden)
    return HeldOut(
        rows=np.concatenate([fold.rows for fold in folds]),
        hidden=np.concatenate([fold.hidden for fold in folds]),
        filled=filled,
    )


def _move_shrinkage(folds, width):
    """Move the shrinkage of all folds to where the error of hidden entries is least.

    Parameters
    ----------
    folds : list of _Fold
    width : float or None
        Errors beyond it count linearly; None for twice their mean.

    Returns
    -------
    moved : bool
    width : float
    loss : float
        Of the hidden entries.
    """
    first = folds[0].fit.shrinkage

    def magnitudes(shrinkage):
        return np.concatenate([np.abs(fold.errors(shrinkage)) for fold in folds])

    if width is None:
        width = 2 * magnitudes(first).mean()

    def loss(shrinkage):
        # Huber's: where most entries of a column are equal, the others are huge.
        errors = magnitudes(shrinkage)
        clipped = np.minimum(errors, width)
        return np.mean(clipped * (2 * errors - clipped))

    chosen, best = first, loss(first)
    # Where the entries cannot tell, what shrinks to the means is preferred.
    for factor, gain in ((1 / _FACTOR, _GAIN), (_FACTOR, 0)):
        for _ in range(_TRIALS):
            other = loss(chosen * factor)
            if other >= (1 - gain) * best:
                break
            best = other
            chosen *= factor
    for fold in folds:
        fold.fit.shrink(chosen)
    return chosen != first, width, best


def _folds(fit, rng):
    """Return fits that do not see some entries: the given one, and more of small tables."""
    known = ~fit.missing
    p = known.shape[1]
    candidates = np.flatnonzero(known.sum(axis=1) > 1)
    per_row = np.count_nonzero(known) / (_PARTS * len(known))
    n_rows = min(len(candidates), max(_HIDDEN_ROWS, int(_ENOUGH_HIDDEN / per_row)))
    rows = np.sort(rng.choice(candidates, n_rows, replace=False))
    part = np.where(known[rows], rng.integers(_PARTS, size=(n_rows, p)), -1)
    folds = []
    n_folds = _ENOUGH_HIDDEN / (per_row * max(n_rows, 1))
    for number in range(int(np.clip(round(n_folds), 1, _PARTS))):
        hidden = part == number
        # A row keeps an entry.
        hidden &= (known[rows] & ~hidden).any(axis=1)[:, np.newaxis]
        some = hidden.any(axis=1)
        if some.any():
            folds.append((rows[some], hidden[some]))
    # The first hides entries last, as the others copy what it knows.
    return [
        _Fold(fit if number == 0 else fit.copy(), *folds[number])
        for number in reversed(range(len(folds)))
    ][::-1]


class _Fold:
    """A fit from which some entries are hidden."""

    def __init__(self, fit, rows, hidden):
        self.fit, self.rows, self.hidden = fit, rows, hidden
        fit.missing[rows] |= hidden
        self._truth = ((fit.X[rows] - fit.location) / fit.scale)[hidden]

    def errors(self, shrinkage):
        """Return standardised errors of the hidden entries, with the sums there are."""
        gaussian = self.fit.shrunk(shrinkage)
        D = self.fit.Z[self.rows] - gaussian.mean
        gaussian.condition(D, self.fit.missing[self.rows])
        return (D + gaussian.mean)[self.hidden] - self._truth

    def filled(self):
        """Return the rows with conditional means for missing and hidden entries."""
        fit, rows = self.fit, self.rows
        part = np.where(fit.missing[rows], np.nan, fit.X[rows])
        return fit.gaussian.fill(part, n_jobs=fit.n_jobs)


class _Fit:
    """A sample of rows, the distribution, and the sums that a step needs."""

    def __init__(self, X, rank, shrinkage, n_jobs, report):
        self.X, self.rank, self.shrinkage, self.n_jobs = X, rank, shrinkage, n_jobs
        self.n_iter, self.stopped, self._report = 0, False, report
        self.missing = np.isnan(X)
        self.n_rows = max(np.count_nonzero(~self.missing.all(axis=1)), 1)
        moments = ColumnMoments.of(X)
        self.location, self.scale = moments.mean, moments.usual_spread
        self.Z = (X - self.location) / self.scale
        self.Z[self.missing] = 0

    def reveal(self, rows, hidden):
        """Take back that entries are missing."""
        self.missing[rows] &= ~hidden
        Z = self.Z[rows]
        Z[hidden] = ((self.X[rows] - self.location) / self.scale)[hidden]
        self.Z[rows] = Z

    def start(self):
        """Take covariances of pairs of columns where both have entries."""
        known = (~self.missing).astype(np.float64)
        Z = known * self.Z
        C = (Z.T @ Z) / np.maximum(known.T @ known, 1)
        values, vectors = np.linalg.eigh(C)
        values = self.n_rows * np.maximum(values, _START_FLOOR)
        self.mean = np.zeros(len(C))
        self.scatter_values, self.vectors = values, vectors
        self.gaussian = self.shrunk(self.shrinkage)

    def expect(self):
        """Set missing entries to their means, and return by how much these changed.

        Returns
        -------
        float
            Root mean square, over that of the standard deviations.
        """
        # E step: of a row with o known and m missing, E[x_m] = mu_m + S_mo S_oo^-1 (x_o -
        # mu_o), and `spread` sums the conditional covariances S_mm - S_mo S_oo^-1 S_om.
        gaussian, p = self.gaussian, len(self.mean)

        def run(rows):
            missing, Z = self.missing[rows], self.Z[rows]
            D = Z - gaussian.mean
            spread = np.zeros((p, p))
            log_det = gaussian.condition(D, missing, spread)
            change = np.square((D + gaussian.mean - Z)[missing]).sum()
            Z[missing] = (D + gaussian.mean)[missing]
            D[missing.all(axis=1)] = 0
            return [D.sum(axis=0), D.T @ D, spread, log_det, change]

        lanes = split(len(self.Z), BLOCK)
        total, squares, spread, log_det, change = reduce(
            add_states, run_lanes(run, lanes, self.n_jobs)
        )
        n, shift = self.n_rows, total / self.n_rows
        # The sums were taken about the old mean: the scatter moves to the new one.
        self.mean = gaussian.mean + shift
        self.scatter = squares - n * np.outer(shift, shift)
        self.scatter += spread + np.tril(spread, -1).T
        # The log-likelihood of the distribution that this step started from.
        weight = n + self.shrinkage
        fit = weight * np.log(gaussian.values).sum() + log_det
        fit += np.sum(gaussian.precision * squares)
        fit += self.shrinkage * np.sum(1 / gaussian.values)
        self.log_likelihood = float(-fit / 2 / max(np.count_nonzero(~self.missing), 1))
        variance = spread.trace()
        return float(np.sqrt(change / variance)) if variance > 0 else 0.0

    def filled(self):
        """Return the sample with the conditional means of the last step."""
        filled = self.X.copy()
        filled[self.missing] = (self.location + self.scale * self.Z)[self.missing]
        return filled

    def maximise(self):
        """Set the distribution to the most likely one, which ends a step."""
        self.scatter_values, self.vectors = np.linalg.eigh(self.scatter)
        self.gaussian = self.shrunk(self.shrinkage)
        self.n_iter += 1
        self.stopped = self._report is not None and self._report()

    def shrunk(self, shrinkage):
        """Return the distribution of a shrinkage, in closed form given the scatter.

        The smallest eigenvalues, all but `rank`, are noise and replaced by their mean
        (Tipping & Bishop 1999, section 3.2).
        """
        values = (self.scatter_values + shrinkage) / (self.n_rows + shrinkage)
        n_noise = len(values) - self.rank
        values[:n_noise] = values[:n_noise].mean()
        floor = len(values) * np.finfo(np.float64).eps * max(values[-1], 1)
        values = np.maximum(values, floor)
        return GaussianRows(
            location=self.location,
            scale=self.scale,
            mean=self.mean,
            values=values,
            vectors=self.vectors,
        )

    def shrink(self, shrinkage):
        """Set the distribution to that of another shrinkage."""
        self.shrinkage = shrinkage
        self.gaussian = self.shrunk(shrinkage)

    def copy(self):
        """Return another fit, not started, that reports nothing."""
        other = copy(self)
        other.missing, other.Z, other._report = self.missing.copy(), self.Z.copy(), None
        return other
