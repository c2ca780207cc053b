"""Which rows and columns of a low-rank matrix follow from observed entries, by counting."""

from typing import NamedTuple

import numpy as np
import scipy.sparse as sp


class Part(NamedTuple):
    """Some rows and columns of a matrix of shape (m, n).

    Attributes
    ----------
    rows : ndarray of bool of shape (m,)
    columns : ndarray of bool of shape (n,)
    """

    rows: np.ndarray
    columns: np.ndarray

    @classmethod
    def whole(cls, shape):
        """Return all rows and columns."""
        return cls(*(np.ones(size, bool) for size in shape))

    @property
    def size(self):
        """Number of rows and columns together."""
        return np.count_nonzero(self.rows) + np.count_nonzero(self.columns)

    def of(self, observed):
        """Return the observed entries in these rows and columns."""
        if self.rows.all() and self.columns.all():
            return observed
        return observed.where(self.rows[observed.rows] & self.columns[observed.indices])


def core_of(observed, kept, rank):
    """Return the rows and columns left when those with too few entries are taken away.

    With at most `rank` entries, in what is left of those kept, they have no fewer
    unknowns. Of several components the largest is returned.

    Parameters
    ----------
    observed : Observed
        Of shape (m, n).
    kept : ndarray of bool of shape (nnz,)
        Entries that count.
    rank : int

    Returns
    -------
    Part
        Empty where nothing is left.
    """
    (m, n), i, j = observed.shape, observed.rows, observed.indices
    count = -1
    while count != (count := np.count_nonzero(kept)):
        rows = np.bincount(i[kept], minlength=m) > rank
        columns = np.bincount(j[kept], minlength=n) > rank
        kept = kept & rows[i] & columns[j]
    if count == 0:
        return Part(np.zeros(m, bool), np.zeros(n, bool))
    of_rows, of_columns = components(observed.where(kept))
    largest = np.bincount(of_rows[i[kept]]).argmax()
    return Part(rows & (of_rows == largest), columns & (of_columns == largest))


def components(observed):
    """Return the connected component of each row and column, joined by the entries.

    Parameters
    ----------
    observed : Observed
        Of shape (m, n).

    Returns
    -------
    of_rows, of_columns : ndarray of int of shape (m,) and (n,)
    """
    m, n = observed.shape
    # Edges from rows to columns, whose numbers follow those of the rows. scipy copies what
    # is not of these types.
    index = np.int32 if max(m + n, observed.nnz) < np.iinfo(np.int32).max else np.int64
    edges = (
        np.ones(observed.nnz),
        observed.indices.astype(index) + index(m),
        np.append(observed.indptr, np.full(n, observed.nnz)).astype(index),
    )
    graph = sp.csr_array(edges, shape=(m + n, m + n))
    labels = sp.csgraph.connected_components(graph, directed=False)[1]
    return labels[:m], labels[m:]


def determined_by(observed, core, rank):
    """Return the rows and columns that follow from a core, or where it is empty from any.

    Parameters
    ----------
    observed : Observed
    core : Part
    rank : int

    Returns
    -------
    Part
    """
    if not core.rows.any():
        # The factors of so many rows are free, and fix the basis.
        rows = core.rows.copy()
        rows[np.argsort(-observed.counts, kind="stable")[:rank]] = True
        core = core._replace(rows=rows)
    *_, part = closure(observed, core, rank)
    return part


def closure(observed, part, rank):
    """Yield a part joined, in turn, by rows and columns with `rank` entries in it.

    The factor of a row is the solution of the equations that its entries in known columns
    are, as many as unknowns: in the end nothing is left that follows from the part.
    """
    (m, n), i, j = observed.shape, observed.rows, observed.indices
    rows, columns = part
    size = -1
    while size != (size := Part(rows, columns).size):
        rows = rows | (np.bincount(i[columns[j]], minlength=m) >= rank)
        yield Part(rows, columns)
        columns = columns | (np.bincount(j[rows[i]], minlength=n) >= rank)
        yield Part(rows, columns)


def remainder(observed, part, rank):
    """Yield a part joined, in turn, by the other rows and columns, so that each can fit.

    The reverse of taking away, in turn, those with at most `rank` entries in what is left.
    """
    (m, n), i, j = observed.shape, observed.rows, observed.indices
    left = Part.whole(observed.shape)
    parts = [left]
    while left.size > part.size:
        before = left.size
        few = np.bincount(i[left.columns[j]], minlength=m) <= rank
        parts.append(left := left._replace(rows=left.rows & (part.rows | ~few)))
        few = np.bincount(j[left.rows[i]], minlength=n) <= rank
        parts.append(left := left._replace(columns=left.columns & (part.columns | ~few)))
        if left.size == before:
            # Nothing has few entries: the rest goes at once.
            parts += [left._replace(rows=part.rows), left := part]
    yield from reversed(parts)
