"""Distinct rows in an order of their own, so that copies of a row are as its weight."""

import numpy as np
import scipy.sparse as sp

from ...operators.threads import consecutive

# Columns that tell most rows apart. Only rows that agree in all of them are compared in
# all others.
_FEW_COLUMNS = 8

# Rows hashed at a time: their bits stay in cache.
_TILE_ROWS = 1024


def distinct_rows(X, weight):
    """Return one of each of the distinct rows that have weight, and their total weights.

    Parameters
    ----------
    X : ndarray or csr_array of shape (n, n_features)
        Of float32 or float64; the sparse one is canonical.
    weight : ndarray of shape (n,) or None
        None means one for each row.

    Returns
    -------
    rows : ndarray of int of shape (m,)
        In an order that follows from their values alone, whatever the order of the rows
        of X: what is drawn is the same for w copies of a row, and for one of weight w.
    weight : ndarray of shape (m,)
        The sum over the rows that are equal, in float64.

    Notes
    -----
    Rows are told apart by 64 random bits. A pair of distinct rows is mistaken for copies
    with a probability of 2^-44 at most: then one of both cannot become a landmark.
    """
    n, n_features = X.shape
    # Always the same, as the order is to be.
    stream = np.random.default_rng(0)
    factors = stream.integers(2**64, size=n_features, dtype=np.uint64) | np.uint64(1)
    rows = np.arange(n) if weight is None else np.flatnonzero(weight)
    few = slice(None) if sp.issparse(X) else slice(0, _FEW_COLUMNS)
    keys = _hashes(X[:, few], factors[few])[rows]
    order = np.argsort(keys)
    rows, keys = rows[order], keys[order]
    alike = keys[1:] == keys[:-1]
    if alike.any() and not sp.issparse(X):
        tied = np.append(alike, False) | np.append(False, alike)
        among = rows[tied]
        full = np.zeros(len(rows), np.uint64)
        full[tied] = _hashes(X[among], factors)
        order = np.lexsort((full, keys))
        rows, full = rows[order], full[order]
        alike &= full[1:] == full[:-1]
    first = np.flatnonzero(np.append(True, ~alike))
    weight = np.ones(len(rows)) if weight is None else weight[rows].astype(np.float64)
    return rows[first], np.add.reduceat(weight, first)


def _hashes(X, factors):
    """Return a sum over the bits of each row, times random odd factors, modulo 2^64."""
    if sp.issparse(X):
        bits = sp.csr_array((_bits(X.data), X.indices, X.indptr), shape=X.shape)
        return bits @ factors
    parts = consecutive(X.shape[0], _TILE_ROWS)
    return np.concatenate([np.einsum("ij,j->i", _bits(X[t]), factors) for t in parts])


def _bits(values):
    """Return the bits of floats as integers: equal ones for equal numbers."""
    # The sum has no negative zero, and is contiguous.
    values = np.add(values, values.dtype.type(0), order="C")
    if values.dtype.itemsize == 4:
        return values.view(np.uint32).astype(np.uint64)
    bits = values.view(np.uint64)
    # Round numbers have no low bits, where products with the factors begin.
    bits ^= bits >> np.uint64(32)
    return bits
