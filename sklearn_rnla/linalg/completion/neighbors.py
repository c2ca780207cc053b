"""Missing entries by the nearest rows of a table that a linear model has filled."""

from typing import NamedTuple

import numpy as np
from scipy.optimize import nnls

from ...operators.threads import kernel_jobs, run_lanes, split
from .gaussian_rows import GaussianRows

# Reference rows at most, and those that an entry is averaged over.
_ROWS, _COUNT = 2**14, 24
# Entries of a block of distances.
_BLOCK = 2**21
# Share of half the mean squared norm that is added to squared distances, as rows may be
# equal.
_FLOOR = 1e-6
# Least share of the error of hidden entries that neighbours have to take away.
_GAIN = 0.01


class Neighbors(NamedTuple):
    """Rows to take neighbours from, and the weights of what they tell.

    Attributes
    ----------
    gaussian : GaussianRows
        The linear model, whose predictions neighbours correct, and whose location and
        scale standardise the columns.
    reference : ndarray of shape (n_reference, p)
        Standardised rows, filled; float32.
    missing : ndarray of bool of shape (n_reference, p)
        Their entries that were missing.
    residuals : ndarray of shape (n_reference, p)
        Errors of the linear prediction of each entry from the others of its row.
    weights : ndarray of shape (2,)
        Of the neighbours' values, as against the linear prediction, and of their residuals.
    """

    gaussian: GaussianRows
    reference: np.ndarray
    missing: np.ndarray
    residuals: np.ndarray
    weights: np.ndarray

    def parts_of_distances(self):
        """Return what half squared distances are inner products with, and a floor of them.

        Returns
        -------
        parts : ndarray of shape (n_reference, 2 p)
            Half the squares of the reference's entries, and minus these.
        floor : float
        """
        half_squares = np.square(self.reference) / 2
        # Of standardised columns; where all are constant, anything will do.
        floor = _FLOOR * (float(half_squares.sum(axis=1).mean()) or 1.0)
        return np.hstack([half_squares, -self.reference]), floor

    def fill(self, X, *, n_jobs=None):
        """Return rows with corrected conditional means for their missing entries.

        Parameters
        ----------
        X : ndarray of shape (m, p)
            NaN where missing.
        n_jobs : int, default=None

        Returns
        -------
        ndarray of shape (m, p)
        """
        return refine(self, X, self.gaussian.fill(X, n_jobs=n_jobs), n_jobs=n_jobs)


def fit_neighbors(X, result, *, rng, n_jobs=None):
    """Return how neighbours correct the missing entries of a linear model.

    Parameters
    ----------
    X : ndarray of shape (n, p)
        NaN where missing.
    result : PPCAResult
        Of `X`.
    rng : Generator
    n_jobs : int, default=None
        Threads.

    Returns
    -------
    neighbors : Neighbors or None
        None where they take less than 1 % off the error of the entries that were hidden
        from the first steps of the model, or none was.
    errors : HeldOutErrors
        Of these entries, corrected by neighbours if there are any.

    Notes
    -----
    An entry is the linear prediction x, and ``w_1 (v - x) + w_2 r``, where v and r average
    the neighbours' values and their residuals, which the linear prediction of an entry that
    they have leaves; where few have it, v is near x and r near zero. Neighbours of a row
    are near in the columns where it has entries: a filled one would look for what the
    linear prediction says. The two weights are least squares over
    hidden entries, with Huber's weights for large errors, and not negative. At most 16384
    rows, drawn at random, are neighbours.
    """
    held_out, gaussian = result.held_out, result.gaussian
    n = len(X)
    if held_out is None or n <= 2:
        return None, result.errors(X)
    rows = np.arange(n) if n <= _ROWS else np.sort(rng.choice(n, _ROWS, replace=False))
    own = np.full(n, -1)
    own[rows] = np.arange(len(rows))
    filled = result.filled[rows]
    reference = gaussian.standardised(filled)
    neighbors = Neighbors(
        gaussian=gaussian,
        reference=reference,
        missing=np.isnan(X[rows]),
        residuals=gaussian.residuals(filled).astype(np.float32),
        weights=np.zeros(2),
    )
    hidden = held_out.hidden
    shifts = np.zeros((2, *hidden.shape))
    unknown = hidden | np.isnan(X[held_out.rows])
    own = own[held_out.rows]
    _averages(neighbors, held_out.filled, unknown, hidden, own, shifts, n_jobs)
    A = shifts[:, hidden].T
    scale = np.broadcast_to(gaussian.scale, hidden.shape)[hidden]
    errors = (X[held_out.rows] - held_out.filled)[hidden] / scale
    magnitudes = np.abs(errors)
    # Where most entries of a column are equal, the others have huge errors.
    w = 1 / np.sqrt(np.maximum(1, magnitudes / max(2 * magnitudes.mean(), 1e-300)))
    weights, left = nnls(w[:, np.newaxis] * A, w * errors)
    # Two weights fit so much even of nothing.
    gain = _GAIN + len(weights) / len(errors)
    if left >= (1 - gain) * np.linalg.norm(w * errors):
        return None, result.errors(X)
    # What the weights were chosen by is fitted better than what they were not.
    corrected = result.errors(X, scale * (A @ weights))
    enlarged = np.sqrt(1 + 2 * len(weights) / len(errors)) * corrected.values
    return neighbors._replace(weights=weights), corrected._replace(values=enlarged)


def refine(neighbors, X, filled, *, n_jobs=None):
    """Correct the missing entries of rows that the linear model has filled.

    Parameters
    ----------
    neighbors : Neighbors
    X : ndarray of shape (m, p)
        NaN where missing.
    filled : ndarray of shape (m, p)
    n_jobs : int, default=None
        Threads.

    Returns
    -------
    ndarray of shape (m, p)
        Entries that are not missing as they are in `filled`.
    """
    refined = np.array(filled)
    missing = np.isnan(X)
    rows = np.flatnonzero(missing.any(axis=1))
    # A row that is its own neighbour lacks the same entries, and so tells nothing of them.
    nobody = np.full(len(rows), -1)
    parts = neighbors.parts_of_distances()

    def run(block):
        part = rows[block]
        wanted, queries = missing[part], filled[part]
        shifts = np.zeros((2, *wanted.shape))
        own = nobody[block]
        _average_block(neighbors, parts, queries, wanted, wanted, own, shifts)
        shift = neighbors.gaussian.scale * np.tensordot(neighbors.weights, shifts, 1)
        refined[part] = np.where(wanted, queries + shift, queries)

    for _ in run_lanes(run, _blocks(len(rows), neighbors), kernel_jobs(n_jobs)):
        pass
    return refined


def _blocks(m, neighbors):
    return split(m, max(1, _BLOCK // len(neighbors.reference)))


def _averages(neighbors, filled, unknown, wanted, own, shifts, n_jobs):
    """Set `shifts` to the averages that the weights are for, where wanted."""
    parts = neighbors.parts_of_distances()

    def run(rows):
        part = filled[rows], unknown[rows], wanted[rows], own[rows], shifts[:, rows]
        _average_block(neighbors, parts, *part)

    for _ in run_lanes(run, _blocks(len(filled), neighbors), kernel_jobs(n_jobs)):
        pass


def _average_block(neighbors, parts_of_distances, filled, unknown, wanted, own, shifts):
    """Set `shifts` for a block of rows.

    Parameters
    ----------
    neighbors : Neighbors
    parts_of_distances : tuple
        Its own.
    filled : ndarray of shape (m, p)
    unknown : ndarray of bool of shape (m, p)
        Entries that distances do not count.
    wanted : ndarray of bool of shape (m, p)
        Entries to average for.
    own : ndarray of int of shape (m,)
        Which reference row is the row itself, and so no neighbour of it; -1 for none.
    shifts : ndarray of shape (2, m, p)
        By how much neighbours' values differ from `filled`, and their residuals.
    """
    from ..._kernels.neighbors import average, nearest

    reference = neighbors.reference
    queries = neighbors.gaussian.standardised(filled)
    count = min(_COUNT, len(reference) - 1)
    found = np.empty((len(queries), count), np.int32)
    known = (~unknown).astype(np.float32)
    parts, floor = parts_of_distances
    halves = np.hstack([known, known * queries]) @ parts.T
    nearest(halves, own, found)
    average(
        found,
        queries,
        known,
        wanted,
        reference,
        neighbors.missing,
        neighbors.residuals,
        floor,
        shifts[0],
        shifts[1],
    )
