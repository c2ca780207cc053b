"""Probabilistic principal components of a table with missing entries."""

from __future__ import annotations

from functools import reduce
from typing import NamedTuple

import numpy as np

from ...operators.lanes import kernel_jobs, one_blas_thread, run_lanes, split
from ...operators.rows import add_states
from .gaussian_rows import BLOCK, GaussianRows
from .model import LowRankModel

# Rows that the covariance is estimated from: so many, and so many more for each column.
_ROWS, _ROWS_PER_COLUMN = 8192, 32
# Entries hidden to choose the shrinkage: a share of those of some rows, for as many rows
# as have about so many entries, and at least so many; fewer hidden entries choose nothing.
_HIDDEN_SHARE, _HIDDEN_FROM, _HIDDEN_ROWS, _FEWEST_HIDDEN = 0.1, 2**14, 2**9, 32
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
        Sorted.
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
    error_estimate : float
        Root mean squared error of the hidden entries; NaN if none was.
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
    error_estimate: float
    n_iter: int
    converged: bool
    history: list


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
    if n > (most := _ROWS + _ROWS_PER_COLUMN * p):
        sample = np.sort(rng.choice(n, most, replace=False))
    start = _SHRINKAGE if shrinkage is None else shrinkage
    fit = _Fit(X if len(sample) == n else X[sample], rank, start, n_jobs, report)
    hiding = None if shrinkage is not None else _hide(~fit.missing, rng)
    error, held_out = np.nan, None
    if hiding is None:
        fit.start()
    else:
        rows, hidden = hiding
        filled = _choose_shrinkage(fit, rows, hidden, max(1, max_iter // 2), tol)
        errors = (filled - fit.X[rows])[hidden]
        error = float(np.sqrt(np.mean(np.square(errors, dtype=np.float64))))
        held_out = HeldOut(rows=sample[rows], hidden=hidden, filled=filled)
    history = []
    while True:
        # The first distribution has not seen all entries, or only pairs of them.
        converged = fit.expect() <= tol and len(history) > 0
        history.append(fit.log_likelihood)
        if converged or fit.stopped or fit.n_iter >= max_iter:
            break
        fit.maximise()
    filled = fit.gaussian.fill(X, n_jobs=n_jobs)
    return PPCAResult(
        model=fit.gaussian.low_rank_model(rank, filled),
        filled=filled,
        gaussian=fit.gaussian,
        shrinkage=fit.shrinkage,
        held_out=held_out,
        error_estimate=error,
        n_iter=fit.n_iter,
        converged=converged,
        history=history,
    )


def _choose_shrinkage(fit, rows, hidden, max_iter, tol):
    """Take steps that do not see some entries, and choose the shrinkage by these.

    Parameters
    ----------
    fit : _Fit
        Not started.
    rows : ndarray of int of shape (n_held,)
    hidden : ndarray of bool of shape (n_held, p)
        The entries of these rows to hide; they are revealed at the end.
    max_iter : int
    tol : float

    Returns
    -------
    ndarray of shape (n_held, p)
        The rows, with conditional means for missing and hidden entries.
    """
    fit.missing[rows] |= hidden
    fit.start()
    settled = False
    while fit.n_iter < max_iter and not (settled or fit.stopped):
        settled = fit.expect() <= tol
        fit.maximise()
        # A choice is as expensive as a step: there is one after 1, 2, 4, ... steps, and
        # one when they end.
        if settled or fit.n_iter & (fit.n_iter - 1) == 0:
            settled &= not fit.choose(rows, hidden)
    part = np.where(fit.missing[rows], np.nan, fit.X[rows])
    filled = fit.gaussian.fill(part, n_jobs=fit.n_jobs)
    fit.reveal(rows, hidden)
    return filled


def _hide(known, rng):
    """Return rows and which of their entries to hide; None where these are too few."""
    p = known.shape[1]
    candidates = np.flatnonzero(known.sum(axis=1) > 1)
    n_rows = min(len(candidates), max(_HIDDEN_FROM // p, _HIDDEN_ROWS))
    rows = np.sort(rng.choice(candidates, n_rows, replace=False))
    hidden = known[rows] & (rng.random((n_rows, p)) < _HIDDEN_SHARE)
    # A row keeps an entry.
    hidden &= (known[rows] & ~hidden).any(axis=1)[:, np.newaxis]
    some = hidden.any(axis=1)
    if hidden.sum() < _FEWEST_HIDDEN:
        return None
    return rows[some], hidden[some]


class _Fit:
    """A sample of rows, the distribution, and the sums that a step needs."""

    def __init__(self, X, rank, shrinkage, n_jobs, report):
        self.X, self.rank, self.shrinkage, self.n_jobs = X, rank, shrinkage, n_jobs
        self.n_iter, self.stopped, self._report = 0, False, report
        self.missing = np.isnan(X)
        self.n_rows = max(np.count_nonzero(~self.missing.all(axis=1)), 1)
        counts = np.maximum(len(X) - self.missing.sum(axis=0), 1)
        Z = np.where(self.missing, 0, X).astype(np.float64)
        self.location = Z.sum(axis=0) / counts
        Z -= self.location
        Z[self.missing] = 0
        scale = np.sqrt(np.square(Z).sum(axis=0) / counts)
        # A constant column has no unit of its own.
        tiny = 8 * np.finfo(X.dtype).eps * np.abs(self.location)
        scale[scale <= tiny] = 1
        self.scale = scale
        self.Z = Z / scale
        self.width, self.loss = None, np.inf

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
        self.gaussian = self._shrunk(self.shrinkage)

    def expect(self):
        """Set missing entries to their means, and return by how much these changed.

        Returns
        -------
        float
            Root mean square, over that of the standard deviations.
        """
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

    def maximise(self):
        """Set the distribution to the most likely one, which ends a step."""
        self.scatter_values, self.vectors = np.linalg.eigh(self.scatter)
        self.gaussian = self._shrunk(self.shrinkage)
        self.n_iter += 1
        self.stopped = self._report is not None and self._report()

    def _shrunk(self, shrinkage):
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

    def choose(self, rows, hidden):
        """Move the shrinkage to where the error of hidden entries is least.

        Returns
        -------
        bool
            Whether it moved, or the error fell since the last choice.
        """
        missing, Z = self.missing[rows], self.Z[rows]
        truth = (self.X[rows] - self.location) / self.scale

        def loss(shrinkage):
            gaussian = self._shrunk(shrinkage)
            D = Z - gaussian.mean
            gaussian.condition(D, missing)
            errors = np.abs((D + gaussian.mean - truth)[hidden])
            if self.width is None:
                self.width = 2 * errors.mean()
            # Huber's: where most entries of a column are equal, the others are huge.
            clipped = np.minimum(errors, self.width)
            return np.mean(clipped * (2 * errors - clipped))

        before, best = self.shrinkage, loss(self.shrinkage)
        for factor in (1 / _FACTOR, _FACTOR):
            for _ in range(_TRIALS):
                other = loss(self.shrinkage * factor)
                if other >= (1 - _GAIN) * best:
                    break
                best = other
                self.shrinkage *= factor
        self.gaussian = self._shrunk(self.shrinkage)
        # In a table without noise, standard deviations shrink along with the steps: means
        # seem to have settled, while the error of hidden entries still falls.
        fell = best < (1 - _GAIN) * self.loss
        self.loss = best
        return fell or self.shrinkage != before
