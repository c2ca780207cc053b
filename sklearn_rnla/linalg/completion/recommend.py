"""The largest entries of each row of a product, without the product."""

import numpy as np

from ...operators.threads import run_lanes

# A tile of scores has so many rows and columns: it stays in cache for the selection.
_ROWS = 256
_COLUMNS = 512


def top_n(U, V, n, *, column_scores=None, exclude=None, n_jobs=None):
    """Return the n largest entries of each row of ``U V^T + column_scores``.

    A tile of the product at a time: it takes no memory beyond what is returned and a few
    tiles.

    Parameters
    ----------
    U : ndarray of shape (m, k)
    V : ndarray of shape (n_columns, k)
        Of its dtype.
    n : int
        At least 1.
    column_scores : ndarray of shape (n_columns,), default=None
    exclude : Observed of shape (m, n_columns), default=None
        Its entries are skipped, whatever their values.
    n_jobs : int, default=None
        Threads over blocks of rows.

    Returns
    -------
    indices : ndarray of int of shape (m, n)
        Best first; of equal scores, the lower index first. -1 where the row has no more
        candidates: columns that are excluded, or whose score is minus infinity or not a
        number, are none.
    scores : ndarray of shape (m, n)
        Minus infinity there.
    """
    from ..._kernels.recommend import select, sort

    m, n_columns = len(U), len(V)
    indices = np.empty((m, n), np.intp)
    scores = np.empty((m, n), U.dtype)
    if column_scores is None:
        column_scores = np.zeros(n_columns)
    extra = np.ascontiguousarray(column_scores, U.dtype)
    if exclude is None:
        indptr, skipped = np.zeros(m + 1, np.int32), np.zeros(0, np.int32)
    else:
        indptr, skipped = exclude.indptr, exclude.indices

    def run(start):
        """Select from a block of rows, a tile of columns at a time."""
        stop = min(start + _ROWS, m)
        rows = slice(start, stop)
        n_found = np.zeros(stop - start, np.intp)
        places = indptr[start:stop].copy()
        tile = np.empty((stop - start) * _COLUMNS, U.dtype)
        for first in range(0, n_columns, _COLUMNS):
            last = min(first + _COLUMNS, n_columns)
            block = tile[: (stop - start) * (last - first)].reshape(stop - start, -1)
            np.matmul(U[rows], V[first:last].T, out=block)
            select(
                block,
                extra[first:last],
                first,
                indptr[start : stop + 1],
                skipped,
                places,
                n_found,
                indices[rows],
                scores[rows],
            )
        sort(n_found, indices[rows], scores[rows])

    for _ in run_lanes(run, range(0, m, _ROWS), n_jobs):
        pass
    return indices, scores


def largest_entries(model, rows, n, *, exclude=None, n_jobs=None):
    """Return the n largest entries of rows of a completed matrix.

    Parameters
    ----------
    model : LowRankModel
    rows : ndarray of shape (m, n_samples, d)
        Of the model, or folded in.
    n : int
    exclude, n_jobs
        As for `top_n`.

    Returns
    -------
    indices : ndarray of int of shape (m, n)
    scores : ndarray of shape (m, n)
        As of `top_n`, with the offset and the biases of the rows.
    """
    indices, scores = top_n(
        model.factors_of(rows),
        model.column_factors,
        n,
        column_scores=model.column_biases,
        exclude=exclude,
        n_jobs=n_jobs,
    )
    biases = model.offset + model.biases_of(rows)
    return indices, scores + biases[:, np.newaxis]
