"""Rows of an iterator: read once, in the order they come."""

import itertools
from collections.abc import Callable, Iterator
from typing import Any, NoReturn

import numpy as np
import scipy.sparse as sp

from .._typing import Array, Indices, SparseMatrix
from .rows import FEW_ROWS, Block, RowMatrix, add_states, check_block, in_unit, map_block


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

    def __init__(self, blocks: Iterator[Any]) -> None:
        # Blocks of no rows before the first with some tell nothing.
        filled = (block for block in map(check_block, blocks) if block.shape[0])
        first = next(filled, None)
        if first is None:
            raise ValueError(
                "Found an iterator with 0 block(s): no rows to fit. An iterator can be "
                "read only once: if this one was read before, pass a new one."
            )
        self._first = first
        self._blocks = itertools.chain([first], blocks)
        self.shape: tuple[Any, ...] = (None, first.shape[1])
        self.dtype: np.dtype[Any] = first.dtype
        self.sparse: bool = sp.issparse(first)
        self.weight: Any = None
        self.nnz = 0
        self.block_rows: int = first.shape[0]

    def blocks(self) -> Iterator[Block]:
        if self._blocks is None:
            raise RuntimeError(
                "The iterator of blocks has been read already. Pass a new one, or an "
                "array, memmap or dask array, which can be read several times."
            )
        blocks, self._blocks = self._blocks, None
        start = 0
        for block in blocks:
            values = check_block(
                block,
                self.shape[1],
                dtype=self.dtype,
                sparse=self.sparse,
                exponent=self.exponent,
            )
            yield Block(start, values)
            start += values.shape[0]
            self.block_rows = max(self.block_rows, values.shape[0])
        self.shape = (start, self.shape[1])

    def fold(
        self,
        function: Callable[..., Any],
        *args: Any,
        combine: Callable[..., Any] = add_states,
    ) -> SparseMatrix | list[Any]:
        state = None
        for block in self.blocks():
            state = function(state, block, *args)
        return state

    def map(
        self, function: Callable[..., Any], *args: Any, n_columns: int, dtype: Any = None
    ) -> Array:
        parts = [
            map_block(function, block.values, *args, finite=self.finite)
            for block in self.blocks()
        ]
        return np.concatenate(parts, dtype=dtype)

    def some_rows(self) -> Array | SparseMatrix:
        return in_unit(self._first[:FEW_ROWS], self.exponent)

    def take(self, indices: Indices) -> NoReturn:
        raise RuntimeError("Rows of an iterator cannot be taken out of order.")
