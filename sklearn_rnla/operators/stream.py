"""Rows of an iterator: read once, in the order they come."""

from __future__ import annotations

import itertools

import numpy as np
import scipy.sparse as sp

from .rows import Block, RowMatrix, add_states, working_dtype


class StreamRows(RowMatrix):
    """Rows of an iterator of blocks, dense or sparse, of any number of rows each.

    Parameters
    ----------
    blocks : iterator
        Yields arrays or sparse matrices of shape (any, n_features).

    Notes
    -----
    ``shape[0]`` is None until the stream has been read. A second pass raises
    RuntimeError: an iterator is gone once read.
    """

    rereadable = False

    def __init__(self, blocks):
        first = next(blocks, None)
        if first is None:
            raise ValueError("Found an iterator with 0 block(s): no rows to fit.")
        self._first = first = _checked(first)
        self._blocks = itertools.chain([first], blocks)
        self.shape = (None, first.shape[1])
        self.dtype = working_dtype(first.dtype)
        self.sparse = sp.issparse(first)
        self.weight = None
        self.nnz = 0

    def blocks(self):
        if self._blocks is None:
            raise RuntimeError(
                "The iterator of blocks has been read already. Pass a new one, or an "
                "array, memmap or dask array, which can be read several times."
            )
        blocks, self._blocks = self._blocks, None
        start = 0
        for block in blocks:
            values = _checked(block)
            if values.shape[1] != self.shape[1]:
                raise ValueError(
                    f"A block has {values.shape[1]} features, but the first block has "
                    f"{self.shape[1]} features."
                )
            if self.sparse:
                values = sp.csr_array(values, dtype=self.dtype)
            else:
                values = values.toarray() if sp.issparse(values) else values
                values = np.asarray(values, dtype=self.dtype)
            yield Block(start, values)
            start += values.shape[0]
        self.shape = (start, self.shape[1])

    def fold(self, function, *args, combine=add_states):
        state = None
        for block in self.blocks():
            state = function(state, block, *args)
        return state

    def map(self, function, *args, n_columns, dtype=None):
        parts = [function(block.values, *args) for block in self.blocks()]
        return np.concatenate(parts, dtype=dtype)

    def head(self):
        return np.asarray(self._first[:16], dtype=self.dtype)

    def take(self, indices):
        raise RuntimeError("Rows of an iterator cannot be taken out of order.")


def _checked(block):
    block = block if sp.issparse(block) else np.asarray(block)
    if block.ndim != 2:
        raise ValueError(f"Expected 2D blocks, got {block.ndim}D block instead.")
    return block
