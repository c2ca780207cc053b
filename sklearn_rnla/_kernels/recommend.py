"""The largest scores of each row of a block."""

import numpy as np

from .compiling import njit

# Scores that are compared with the threshold at once, in vector instructions.
_GROUP = 32


@njit(nogil=True)
def select(scores, extra, first, indptr, skipped, places, n_found, indices, values):
    """Keep the best of what was found before and of some columns, as heaps.

    The root of a heap is the worst that is kept: the least score, of the highest index.
    Columns must come in ascending order, so that a score equal to the root's is worse.

    Parameters
    ----------
    scores : ndarray of shape (b, w)
        Of b rows and the columns from `first`; changed where they are skipped.
    extra : ndarray of shape (w,)
        Added to each row.
    first : int
    indptr : ndarray of int of shape (b + 1,)
    skipped : ndarray of int
        Sorted columns that row r skips: ``skipped[indptr[r] : indptr[r + 1]]``.
    places : ndarray of int of shape (b,)
        Where in `skipped` columns from `first` begin; moved on.
    n_found : ndarray of int of shape (b,)
    indices, values : ndarray of shape (b, n)
        The heaps, of which `n_found` are filled.
    """
    width, n = scores.shape[1], indices.shape[1]
    for r in range(len(scores)):
        row, heap, index = scores[r], values[r], indices[r]
        place = places[r]
        while place < indptr[r + 1] and skipped[place] < first + width:
            row[skipped[place] - first] = -np.inf
            place += 1
        places[r] = place
        count = n_found[r]
        least = heap[0] if count == n else scores.dtype.type(-np.inf)
        for start in range(0, width, _GROUP):
            stop = min(start + _GROUP, width)
            hits = 0
            for c in range(start, stop):
                hits |= row[c] + extra[c] > least
            if not hits:
                continue
            for c in range(start, stop):
                score = row[c] + extra[c]
                if not score > least:
                    continue
                if count < n:
                    _rise(heap, index, count, score, first + c)
                    count += 1
                    if count == n:
                        least = heap[0]
                else:
                    _sink(heap, index, n, score, first + c)
                    least = heap[0]
        n_found[r] = count


@njit(nogil=True)
def sort(n_found, indices, values):
    """Turn heaps into lists, best first.

    Parameters
    ----------
    n_found : ndarray of int of shape (b,)
    indices, values : ndarray of shape (b, n)
        As `select` left them; unfilled places become -1 and minus infinity.
    """
    for r in range(len(n_found)):
        heap, index = values[r], indices[r]
        for last in range(n_found[r] - 1, 0, -1):
            worst, where = heap[0], index[0]
            _sink(heap, index, last, heap[last], index[last])
            heap[last], index[last] = worst, where
        heap[n_found[r] :] = -np.inf
        index[n_found[r] :] = -1


@njit(nogil=True)
def _worse(score, where, other, there):
    return score < other or (score == other and where > there)


@njit(nogil=True)
def _rise(heap, index, at, score, where):
    """Add to a heap of length `at`."""
    while at > 0:
        up = (at - 1) // 2
        if not _worse(score, where, heap[up], index[up]):
            break
        heap[at], index[at] = heap[up], index[up]
        at = up
    heap[at], index[at] = score, where


@njit(nogil=True)
def _sink(heap, index, n, score, where):
    """Replace the root of a heap of length n."""
    at = 0
    while 2 * at + 1 < n:
        down = 2 * at + 1
        if down + 1 < n and _worse(
            heap[down + 1], index[down + 1], heap[down], index[down]
        ):
            down += 1
        if not _worse(heap[down], index[down], score, where):
            break
        heap[at], index[at] = heap[down], index[down]
        at = down
    heap[at], index[at] = score, where
