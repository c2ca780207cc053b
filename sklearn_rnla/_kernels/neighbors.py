"""Nearest rows of a table, and averages over them."""

from __future__ import annotations

import numpy as np

from .compiling import njit
from .observed import FAST

_INLINE = {"nogil": True, "cache": True, "fastmath": FAST}


@njit(**_INLINE)
def nearest(halves, own, out):
    """Set `out` to the numbers of the reference rows nearest to each query.

    Parameters
    ----------
    halves : ndarray of shape (m, n)
        Half the squared distances of queries and reference rows, but for a constant of
        each query.
    own : ndarray of int of shape (m,)
        The reference row that is the query itself, left out; or -1.
    out : ndarray of int of shape (m, count)
        The nearest first; `count` is less than n.
    """
    n, count = halves.shape[1], out.shape[1]
    scores = np.empty(count, halves.dtype)
    for i in range(len(own)):
        row, picked = halves[i], out[i]
        n_picked = 0
        worst = scores[0]
        for j in range(n):
            score = row[j]
            if n_picked == count and not score < worst:
                continue
            if j == own[i]:
                continue
            # Sorted, by insertion: after the first few rows it happens rarely.
            if n_picked < count:
                n_picked += 1
            a = n_picked - 1
            while a > 0 and score < scores[a - 1]:
                scores[a] = scores[a - 1]
                picked[a] = picked[a - 1]
                a -= 1
            scores[a] = score
            picked[a] = j
            worst = scores[n_picked - 1]


@njit(**_INLINE)
def average(
    neighbors,
    queries,
    known,
    wanted,
    reference,
    missing,
    residuals,
    floor,
    of_values,
    of_residuals,
):
    """Average what neighbours have where a query wants it, by distance^-4.

    Parameters
    ----------
    neighbors : ndarray of int of shape (m, count)
    queries : ndarray of shape (m, p)
    known : ndarray of shape (m, p)
        One for the columns that distances are of; else zero.
    wanted : ndarray of bool of shape (m, p)
    reference, residuals : ndarray of shape (n, p)
        Filled rows, and the errors of a linear prediction of their entries.
    missing : ndarray of bool of shape (n, p)
        Where reference rows have no entry: those are not averaged.
    floor : float
        Added to squared distances.
    of_values, of_residuals : ndarray of shape (m, p)
        Where wanted, set to the averages of values less the query's, and of residuals, and
        of a zero that has the mean weight.
    """
    m, count = neighbors.shape
    p = queries.shape[1]
    weights = np.empty(count)
    for i in range(m):
        query = queries[i]
        for k in range(count):
            other = reference[neighbors[i, k]]
            squared = floor
            for j in range(p):
                difference = query[j] - other[j]
                squared += known[i, j] * difference * difference
            weights[k] = 1 / (squared * squared)
        for j in range(p):
            if not wanted[i, j]:
                continue
            n_found, mass, value, residual = 0, 0.0, 0.0, 0.0
            for k in range(count):
                r = neighbors[i, k]
                if not missing[r, j]:
                    n_found += 1
                    mass += weights[k]
                    value += weights[k] * (reference[r, j] - query[j])
                    residual += weights[k] * residuals[r, j]
            if n_found > 0:
                mass *= 1 + 1 / n_found
                value /= mass
                residual /= mass
            of_values[i, j] = value
            of_residuals[i, j] = residual
