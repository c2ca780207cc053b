"""The columns of a table that a model is fitted to, and the way back to all of them."""

from typing import NamedTuple

import numpy as np
import scipy.sparse as sp

from ..._typing import Array, Indices, Mask, SparseMatrix


class KeptColumns(NamedTuple):
    """The columns that are kept of a table of n columns; the others are left out.

    Attributes
    ----------
    mask : ndarray of bool of shape (n,)
        Whether a column is kept.
    """

    mask: np.ndarray

    @classmethod
    def with_entries(cls, X: Array) -> "KeptColumns":
        """Return the columns of a dense table that have an entry other than NaN."""
        return cls(~np.isnan(X).all(axis=0))

    @classmethod
    def all_of(cls, X: Array) -> "KeptColumns":
        """Return all columns of a table."""
        return cls(np.ones(X.shape[1], dtype=bool))

    @property
    def numbers(self) -> Indices:
        """Numbers of the kept columns in the whole table, of shape (n_kept,)."""
        return np.flatnonzero(self.mask)

    def take(self, X: Array | SparseMatrix) -> Array | SparseMatrix:
        """Return the kept columns of a dense or sparse table."""
        if self.mask.all():
            return X
        return (X.tocsc() if sp.issparse(X) else X)[:, self.mask]

    def put_back(self, kept: Array, X: Array | None = None) -> Array:
        """Return a dense table of all columns.

        Parameters
        ----------
        kept : ndarray of shape (m, n_kept)
            What the kept columns become.
        X : ndarray of shape (m, n), default=None
            The other columns come from here, with 0 for NaN; they are 0 where it is None.

        Returns
        -------
        ndarray of shape (m, n)
        """
        if self.mask.all():
            return kept
        if X is None:
            out = np.zeros((len(kept), len(self.mask)), kept.dtype)
        else:
            out = np.where(np.isnan(X), X.dtype.type(0), X)
        out[:, self.mask] = kept
        return out

    def places(self, columns: Indices) -> tuple[Indices, Mask]:
        """Return where columns stand among the kept ones, and which of them do.

        Parameters
        ----------
        columns : ndarray of int of shape (n_columns,)
            Numbers in the whole table.

        Returns
        -------
        places : ndarray of int of shape (n_columns,)
            Some valid place where a column is not kept.
        kept : ndarray of bool of shape (n_columns,)
        """
        places = np.cumsum(self.mask) - 1
        return np.maximum(places[columns], 0), self.mask[columns]

    def original(self, places: Indices) -> Indices:
        """Return the numbers in the whole table of places among the kept; -1 stays -1."""
        return np.append(self.numbers, -1)[places]
