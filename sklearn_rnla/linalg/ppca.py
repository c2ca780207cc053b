"""Probabilistic principal components of a table with missing entries."""

from __future__ import annotations

from functools import cached_property, reduce
from typing import NamedTuple

import numpy as np

from ..operators.lanes import kernel_jobs, one_blas_thread, run_lanes, split
from ..operators.rows import add_states
from .low_rank import LowRankModel, RowPrior

# Rows of a block, the unit of threads and of summation.
_BLOCK = 512
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


class Gaussian:
    """A Gaussian distribution of the rows of a table.

    Parameters
    ----------
    location, scale : ndarray of shape (p,)
        The distribution is that of ``(x - location) / scale``.
    mean : ndarray of shape (p,)
    values : ndarray of shape (p,)
        Eigenvalues of the covariance, positive and ascending.
    vectors : ndarray of shape (p, p)
        Its eigenvectors, in columns.

    Attributes
    ----------
    precision : ndarray of shape (p, p)
        Inverse of the covariance.
    """

    def __init__(self, location, scale, mean, values, vectors):
        self.location = location
        self.scale = scale
        self.mean = mean
        self.values = values
        self.vectors = vectors

    @cached_property
    def precision(self):
        return (self.vectors / self.values) @ self.vectors.T

    def deviations(self, X):
        """Return standardised deviations of rows from the mean, in float64."""
        return (X - (self.location + self.scale * self.mean)) / self.scale

    def fill(self, X, *, n_jobs=None):
        """Return rows with conditional means for their missing entries.

        Parameters
        ----------
        X : ndarray of shape (m, p)
            NaN where missing.
        n_jobs : int, default=None

        Returns
        -------
        ndarray of shape (m, p)
        """
        filled = np.array(X)
        center = self.location + self.scale * self.mean

        def run(rows):
            missing = np.isnan(X[rows])
            if missing.any():
                D = self.deviations(X[rows])
                _condition(self, D, missing)
                filled[rows][missing] = (center + self.scale * D)[missing]

        for _ in run_lanes(run, split(len(X), _BLOCK), kernel_jobs(n_jobs)):
            pass
        return filled

    def residuals(self, filled):
        """Return by how much entries differ from what the others of their row tell.

        Parameters
        ----------
        filled : ndarray of shape (m, p)
            Rows with conditional means for their missing entries.

        Returns
        -------
        ndarray of shape (m, p)
            Standardised. Where an entry is not missing, too small by the share of its
            precision that the missing ones have; else zero.
        """
        P = self.precision
        return (self.deviations(filled) @ P) / P.diagonal()


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
    gaussian : Gaussian
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
    gaussian: Gaussian
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
    max_iter=30,
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
    max_iter : int, default=30
        Steps.
    tol : float, default=0.05
        The last step changes the conditional means by less than this times their standard
        deviations, in root mean square.
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
    n, p = X.shape
    rank = p - 1 if rank is None else min(rank, p - 1)
    sample = np.arange(n)
    if n > (most := _ROWS + _ROWS_PER_COLUMN * p):
        sample = np.sort(rng.choice(n, most, replace=False))
    start = _SHRINKAGE if shrinkage is None else shrinkage
    fit = _Fit(X if len(sample) == n else X[sample], rank, start, n_jobs)
    n_iter, stop, error = 0, False, np.nan
    held_out = None if shrinkage is not None else _hide(~fit.missing, rng)
    if held_out is not None:
        rows, hidden = held_out
        fit.missing[rows] |= hidden
        fit.start()
        while n_iter < max(1, max_iter // 2) and not stop:
            settled = fit.expect() <= tol
            fit.maximise()
            n_iter += 1
            # Choices cost as much as steps: after 1, 2, 4, ... of them, and when they end.
            if settled or n_iter & (n_iter - 1) == 0:
                settled &= not fit.choose(rows, hidden)
            stop = report is not None and report()
            if settled:
                break
        filled = fit.gaussian.fill(
            np.where(fit.missing[rows], np.nan, fit.X[rows]), n_jobs=n_jobs
        )
        fit.reveal(rows, hidden)
        errors = (filled - fit.X[rows])[hidden]
        error = float(np.sqrt(np.mean(np.square(errors, dtype=np.float64))))
        held_out = HeldOut(sample[rows], hidden, filled)
    else:
        fit.start()
    history = []
    while True:
        # The first distribution has not seen all entries, or only pairs of them.
        converged = fit.expect() <= tol and len(history) > 0
        history.append(fit.log_likelihood)
        if converged or stop or n_iter >= max_iter:
            break
        fit.maximise()
        n_iter += 1
        stop = report is not None and report()
    filled = fit.gaussian.fill(X, n_jobs=n_jobs)
    model = _low_rank_model(fit.gaussian, rank, filled)
    return PPCAResult(
        model,
        filled,
        fit.gaussian,
        fit.shrinkage,
        held_out,
        error,
        n_iter,
        converged,
        history,
    )


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


def _condition(gaussian, D, missing, spread=None):
    """Set missing deviations to their conditional means, and add up their covariances.

    Parameters
    ----------
    gaussian : Gaussian
    D : ndarray of shape (m, p)
        Deviations; those missing are set.
    missing : ndarray of bool of shape (m, p)
    spread : ndarray of shape (p, p), default=None
        Where the lower triangles of conditional covariances are added to.

    Returns
    -------
    float
        Sum of the log determinants of the precisions of what is missing in a row.
    """
    from .._kernels.ppca import fill_rows

    D[missing] = 0
    P = gaussian.precision
    spread = np.empty((0, 0)) if spread is None else spread
    return fill_rows(missing, D @ P, P, D, spread)


class _Fit:
    """A sample of rows, the distribution, and the sums that a step needs."""

    def __init__(self, X, rank, shrinkage, n_jobs):
        self.X, self.rank, self.shrinkage, self.n_jobs = X, rank, shrinkage, n_jobs
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
        self.width = None

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
            log_det = _condition(gaussian, D, missing, spread)
            change = np.square((D + gaussian.mean - Z)[missing]).sum()
            Z[missing] = (D + gaussian.mean)[missing]
            D[missing.all(axis=1)] = 0
            return [D.sum(axis=0), D.T @ D, spread, log_det, change]

        lanes = split(len(self.Z), _BLOCK)
        total, squares, spread, log_det, change = reduce(
            add_states, run_lanes(run, lanes, self.n_jobs)
        )
        n, shift = self.n_rows, total / self.n_rows
        self.mean = gaussian.mean + shift
        self.scatter = squares - n * np.outer(shift, shift)
        self.scatter += spread + np.tril(spread, -1).T
        weight = n + self.shrinkage
        fit = weight * np.log(gaussian.values).sum() + log_det
        fit += np.sum(gaussian.precision * squares)
        fit += self.shrinkage * np.sum(1 / gaussian.values)
        self.log_likelihood = float(-fit / 2 / max(np.count_nonzero(~self.missing), 1))
        variance = spread.trace()
        return float(np.sqrt(change / variance)) if variance > 0 else 0.0

    def maximise(self):
        """Set the distribution to the most likely one."""
        self.scatter_values, self.vectors = np.linalg.eigh(self.scatter)
        self.gaussian = self._shrunk(self.shrinkage)

    def _shrunk(self, shrinkage):
        values = (self.scatter_values + shrinkage) / (self.n_rows + shrinkage)
        n_noise = len(values) - self.rank
        values[:n_noise] = values[:n_noise].mean()
        floor = len(values) * np.finfo(np.float64).eps * max(values[-1], 1)
        values = np.maximum(values, floor)
        return Gaussian(self.location, self.scale, self.mean, values, self.vectors)

    def choose(self, rows, hidden):
        """Move the shrinkage to where the error of hidden entries is least.

        Returns
        -------
        bool
            Whether it moved.
        """
        missing, Z = self.missing[rows], self.Z[rows]
        truth = (self.X[rows] - self.location) / self.scale

        def loss(shrinkage):
            gaussian = self._shrunk(shrinkage)
            D = Z - gaussian.mean
            _condition(gaussian, D, missing)
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
        return self.shrinkage != before


def _low_rank_model(gaussian, rank, filled):
    """Return the distribution as factors, with the expected ones of `filled` for rows."""
    n, p = filled.shape
    values = gaussian.values[::-1][:rank]
    noise = gaussian.values[0]
    signal = np.sqrt(np.maximum(values - noise, 0))
    V = gaussian.vectors[:, ::-1][:, :rank]
    center = gaussian.location + gaussian.scale * gaussian.mean
    offset = float(center.mean())
    unit = float(np.sqrt(np.mean(np.square(gaussian.scale))))
    columns = np.empty((p, 1, rank + 1), filled.dtype)
    columns[:, 0, 0] = (center - offset) / unit
    columns[:, 0, 1:] = gaussian.scale[:, np.newaxis] / unit * V * signal
    rows = np.zeros((n, 1, rank + 1), filled.dtype)
    # The mean of a row's factors is linear in its entries: given the known ones it is that
    # of the filled row.
    project = V * (signal / values)
    for block in split(n, _BLOCK):
        rows[block, 0, 1:] = gaussian.deviations(filled[block]) @ project
    column_scale = np.square(unit / gaussian.scale)
    precision = np.eye(rank + 1)
    # No row has a bias: the precision is beyond what all of its entries have.
    precision[0, 0] = column_scale.sum() / noise / np.finfo(np.float64).eps
    prior = RowPrior(
        precision[np.newaxis],
        np.zeros((1, rank + 1)),
        np.array([1 / noise]),
        column_scale[np.newaxis],
        np.zeros((1, rank + 1)),
        np.array([np.inf]),
    )
    new = np.zeros_like(columns[:1])
    return LowRankModel(offset, unit, rows, columns, prior, new)
