"""Whether the places of observed entries allow a low-rank matrix to be recovered."""

from typing import NamedTuple

import numpy as np

from ..dense.rank import numerical_rank
from .completability import components


class Sampling(NamedTuple):
    """The places of observed entries of a matrix of shape (m, n), and a rank.

    Attributes
    ----------
    entries_per_row : ndarray of int of shape (m,)
    entries_per_column : ndarray of int of shape (n,)
    n_components : int
        Connected components of the graph with an edge from row to column for each entry,
        without rows and columns that have none. Between two of them nothing is known.
    component_of_row : ndarray of int of shape (m,)
        Components by number of entries, the largest is 0; -1 where there is no entry.
    component_of_column : ndarray of int of shape (n,)
    oversampling : float
        Entries for each degree of freedom, ``k (m + n - k)``: below one, infinitely many
        matrices of the rank agree with them.
    coherence : tuple of float
        Of rows and of columns of the estimate: ``m max_i ||u_i||^2 / k``, for orthonormal
        columns of U; from one, where each row tells as much as others, to ``m / k``.
    """

    entries_per_row: np.ndarray
    entries_per_column: np.ndarray
    n_components: int
    component_of_row: np.ndarray
    component_of_column: np.ndarray
    oversampling: float
    coherence: tuple


def describe_sampling(observed, U, V):
    """Describe the places of entries, and the estimate ``U V^T`` made from them.

    Candes & Recht (2009): recovery needs each row and column, a connected graph, more
    entries than degrees of freedom, and a low coherence.

    Parameters
    ----------
    observed : Observed
        Of shape (m, n).
    U, V : ndarray of shape (m, k) and (n, k)

    Returns
    -------
    Sampling
    """
    (m, n), k = observed.shape, U.shape[1]
    of_rows, of_columns = components(observed)
    counts = observed.counts, np.bincount(observed.indices, minlength=n)
    n_labels = max(of_rows.max(), of_columns.max()) + 1
    sizes = np.bincount(of_rows, counts[0], minlength=n_labels)
    order = np.argsort(-sizes, kind="stable")
    n_components = int(np.count_nonzero(sizes))
    number = np.empty_like(order)
    number[order] = np.arange(len(order))
    number[sizes == 0] = -1
    freedom = k * (m + n - k)
    return Sampling(
        entries_per_row=counts[0],
        entries_per_column=counts[1],
        n_components=n_components,
        component_of_row=number[of_rows],
        component_of_column=number[of_columns],
        oversampling=observed.nnz / freedom if freedom else np.inf,
        coherence=(_coherence(U), _coherence(V)),
    )


def _coherence(U):
    """Return the coherence of the range of U; 1 where it is zero."""
    Q, s, _ = np.linalg.svd(U.astype(np.float64), full_matrices=False)
    rank = numerical_rank(s, U.shape, U.dtype)
    if not rank:
        return 1.0
    Q = Q[:, :rank]
    return float(len(Q) / rank * np.einsum("ij,ij->i", Q, Q).max())


def obstacles(sampling, rank, determined=None, columns=None):
    """Return sentences on what makes recovery at a rank impossible, with the places.

    Parameters
    ----------
    sampling : Sampling
    rank : int
    determined : tuple of ndarray of bool, default=None
        Rows and columns that the entries determine, where that is known; else those count
        that have `rank` entries.
    columns : ndarray of int, default=None
        Numbers that the columns go by.

    Returns
    -------
    list of str
    """
    found = []
    # As many equations as unknowns, a connected graph, and as many entries in each row and
    # column as its factor has unknowns: all are necessary, none is sufficient.
    if sampling.oversampling < 1:
        found.append(
            f"there are {sampling.oversampling:.3g} entries for each degree of freedom of "
            f"rank {rank}: lower the rank"
        )
    if sampling.n_components > 1:
        apart = np.flatnonzero(sampling.component_of_row > 0)
        found.append(
            f"the entries fall into {sampling.n_components} groups that share no row or "
            f"column: nothing relates "
            f"{_few('row', apart)} to the largest group"
        )
    counts = sampling.entries_per_row, sampling.entries_per_column
    numbers = [np.arange(len(of_side)) for of_side in counts]
    if columns is not None:
        numbers[1] = columns
    for side, of_side, number, known in zip(
        ("row", "column"), counts, numbers, determined or (None, None), strict=True
    ):
        few = of_side < rank
        if few.any():
            places = _few(side, number[few], "has", "have")
            found.append(f"{places} fewer entries than the rank {rank}")
        elif known is not None and not known.all():
            found.append(f"{_few(side, number[~known], 'is', 'are')} not determined")
    return found


def _few(side, places, verb="", verbs=""):
    """Return the first few places by name, such as "rows 1, 2 and 3 more have"."""
    shown = ", ".join(map(str, places[:5]))
    if len(places) == 1:
        return f"{side} {shown} {verb}".rstrip()
    more = f" and {len(places) - 5} more" if len(places) > 5 else ""
    return f"{side}s {shown}{more} {verbs}".rstrip()
