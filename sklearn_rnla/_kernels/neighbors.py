"""Nearest rows of a table, and averages over them."""

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
    which, n_found = np.empty(p, np.int64), np.empty(p)
    mass, value, residual = np.empty(p), np.empty(p), np.empty(p)
    for i in range(m):
        query, counted = queries[i], known[i]
        n_wanted = 0
        for j in range(p):
            if wanted[i, j]:
                which[n_wanted] = j
                n_wanted += 1
        n_found[:n_wanted] = 0
        mass[:n_wanted] = 0
        value[:n_wanted] = 0
        residual[:n_wanted] = 0
        for k in range(count):
            r = neighbors[i, k]
            other, lacks, left = reference[r], missing[r], residuals[r]
            squared = query.dtype.type(0)
            for j in range(p):
                difference = query[j] - other[j]
                squared += counted[j] * difference * difference
            weight = 1 / (floor + squared) ** 2
            for a in range(n_wanted):
                j = which[a]
                w = 0.0 if lacks[j] else weight
                n_found[a] += not lacks[j]
                mass[a] += w
                value[a] += w * (other[j] - query[j])
                residual[a] += w * left[j]
        for a in range(n_wanted):
            j = which[a]
            total = mass[a] * (1 + 1 / n_found[a]) if n_found[a] > 0 else 1.0
            of_values[i, j] = value[a] / total
            of_residuals[i, j] = residual[a] / total
