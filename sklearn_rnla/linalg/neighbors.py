"""Missing entries by the nearest rows of a table that a linear model has filled."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy.optimize import nnls

from ..operators.lanes import kernel_jobs, run_lanes, split

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
    location, scale : ndarray of shape (p,)
        Columns are standardised by these.
    reference : ndarray of shape (n_reference, p)
        Standardised rows, filled; float32.
    half_norms : ndarray of shape (n_reference,)
        Half their squared norms.
    missing : ndarray of bool of shape (n_reference, p)
        Their entries that were missing.
    residuals : ndarray of shape (n_reference, p)
        Errors of the linear prediction of each entry from the others of its row.
    weights : ndarray of shape (2,)
        Of the neighbours' values, as against the linear prediction, and of their residuals.
    """

    location: np.ndarray
    scale: np.ndarray
    reference: np.ndarray
    half_norms: np.ndarray
    missing: np.ndarray
    residuals: np.ndarray
    weights: np.ndarray


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
    Neighbors or None
        None where they take less than 1 % off the error of the entries that were hidden
        from the first steps of the model, or none was.

    Notes
    -----
    An entry is the linear prediction x, and ``w_1 (v - x) + w_2 r``, where v and r average
    the neighbours' values and their residuals, which the linear prediction of an entry that
    they have leaves; where few have it, v is near x and r near zero. Neighbours of a row
    are near in all columns, filled ones included. The two weights are least squares over
    hidden entries, with Huber's weights for large errors, and not negative. At most 16384
    rows, drawn at random, are neighbours.
    """
    held_out, gaussian = result.held_out, result.gaussian
    n = len(X)
    if held_out is None or n <= 2:
        return None
    rows = np.arange(n) if n <= _ROWS else np.sort(rng.choice(n, _ROWS, replace=False))
    own = np.full(n, -1)
    own[rows] = np.arange(len(rows))
    location, scale = gaussian.location, gaussian.scale
    filled = result.filled[rows]
    reference = ((filled - location) / scale).astype(np.float32)
    neighbors = Neighbors(
        location,
        scale,
        reference,
        np.einsum("ij,ij->i", reference, reference) / 2,
        np.isnan(X[rows]),
        gaussian.residuals(filled).astype(np.float32),
        np.zeros(2),
    )
    hidden = held_out.hidden
    shifts = np.zeros((2, *hidden.shape))
    _averages(neighbors, held_out.filled, hidden, own[held_out.rows], shifts, n_jobs)
    A = shifts[:, hidden].T
    errors = ((X[held_out.rows] - held_out.filled) / scale)[hidden]
    magnitudes = np.abs(errors)
    # Where most entries of a column are equal, the others have huge errors.
    w = 1 / np.sqrt(np.maximum(1, magnitudes / max(2 * magnitudes.mean(), 1e-300)))
    weights, left = nnls(w[:, np.newaxis] * A, w * errors)
    # Two weights fit so much even of nothing.
    gain = _GAIN + len(weights) / len(errors)
    if left >= (1 - gain) * np.linalg.norm(w * errors):
        return None
    return neighbors._replace(weights=weights)


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

    def run(block):
        part = rows[block]
        wanted, queries = missing[part], filled[part]
        shifts = np.zeros((2, *wanted.shape))
        _average_block(neighbors, queries, wanted, nobody[block], shifts)
        shift = neighbors.scale * np.tensordot(neighbors.weights, shifts, 1)
        refined[part] = np.where(wanted, queries + shift, queries)

    for _ in run_lanes(run, _blocks(len(rows), neighbors), kernel_jobs(n_jobs)):
        pass
    return refined


def _blocks(m, neighbors):
    return split(m, max(1, _BLOCK // len(neighbors.reference)))


def _averages(neighbors, filled, wanted, own, shifts, n_jobs):
    """Set `shifts` to the averages that the weights are for, where wanted."""

    def run(rows):
        _average_block(neighbors, filled[rows], wanted[rows], own[rows], shifts[:, rows])

    for _ in run_lanes(run, _blocks(len(filled), neighbors), kernel_jobs(n_jobs)):
        pass


def _average_block(neighbors, filled, wanted, own, shifts):
    from .._kernels.neighbors import average, nearest

    reference = neighbors.reference
    queries = ((filled - neighbors.location) / neighbors.scale).astype(np.float32)
    count = min(_COUNT, len(reference) - 1)
    found = np.empty((len(queries), count), np.int32)
    nearest(queries @ reference.T, neighbors.half_norms, own, found)
    # Of standardised columns; where all are constant, anything will do.
    floor = _FLOOR * (float(neighbors.half_norms.mean()) or 1.0)
    average(
        found,
        queries,
        wanted,
        reference,
        neighbors.missing,
        neighbors.residuals,
        floor,
        shifts[0],
        shifts[1],
    )
