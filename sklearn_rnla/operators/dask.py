"""Rows of a dask array: states of its chunks are added up in a tree, on the workers."""

from collections.abc import Callable, Iterator
from copy import deepcopy
from functools import cached_property
from typing import Any

import numpy as np
import scipy.sparse as sp

from .._typing import Array, DTypeLike, Indices, SparseMatrix
from .rows import (
    FEW_ROWS,
    Block,
    RowMatrix,
    add_states,
    check_block,
    first_of_weight,
    in_unit,
    map_block,
    of_weight,
    working_dtype,
)

# States merged by one task of the tree reduction.
_FAN_IN = 4


class DaskRows(RowMatrix):
    """Rows of a two-dimensional dask array, one block a chunk.

    Parameters
    ----------
    X : dask.array.Array
        Its chunks may hold ndarrays or scipy sparse matrices. Columns split over several
        chunks are merged first.
    weight : ndarray of shape (n_rows,), default=None
        Row weights.

    Notes
    -----
    Works with whatever scheduler is active: a `dask.distributed` client's cluster, else
    threads of this process. What a pass sends to the workers is its arguments, of
    n_features x l numbers, once; what comes back is one state of that size. Tasks have
    no side effects, so that a lost worker's are simply run again.
    """

    lazy = True

    def __init__(self, X: Any, *, weight: Array | None = None) -> None:
        import dask

        if X.ndim != 2:
            raise ValueError(f"Expected 2D array, got {X.ndim}D array instead.")
        X = X.rechunk({1: -1}) if X.numblocks[1] > 1 else X
        self._X = X
        self._blocks = list(X.to_delayed().ravel())
        lengths = X.chunks[0]
        if any(np.isnan(n) for n in lengths):
            lengths = dask.compute(*[dask.delayed(_n_rows)(b) for b in self._blocks])
        self._starts = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
        self.shape: tuple[Any, ...] = (int(self._starts[-1]), X.shape[1])
        self.block_rows: int = int(np.diff(self._starts).max())
        self.dtype: np.dtype[Any] = working_dtype(X.dtype)
        self.weight = weight

    @cached_property
    def sparse(self) -> bool:
        """Whether the chunks are sparse: where dask was not told so, the first one says."""
        return sp.issparse(self._X._meta) or sp.issparse(self._first_rows)

    @cached_property
    def nnz(self) -> int:
        """Number of stored entries."""
        if not self.sparse:
            return self.shape[0] * self.shape[1]
        import dask

        return sum(dask.compute(*[dask.delayed(_nnz)(block) for block in self._blocks]))

    @property
    def _kind(self):
        """What `check_block` is to make of every chunk."""
        return {
            "n_features": self.shape[1],
            "dtype": self.dtype,
            "sparse": self.sparse,
            "exponent": self.exponent,
        }

    @cached_property
    def _first_rows(self):
        return self._rows_from(0)

    def fold(
        self,
        function: Callable[..., Any],
        *args: Any,
        combine: Callable[..., Any] = add_states,
    ) -> Array | list[Any] | None:
        import dask

        step = dask.delayed(_fold_block, pure=False)
        merge = dask.delayed(_merge, pure=False)
        kind = self._kind
        # Delayed once, the arguments are one node of the graph, sent to a worker once.
        arguments = dask.delayed(args, traverse=False)
        states = [
            step(
                function,
                block,
                int(start),
                {**kind, "n_rows": int(stop - start)},
                None if self.weight is None else self.weight[start:stop],
                arguments,
            )
            for block, start, stop in zip(
                self._blocks, self._starts[:-1], self._starts[1:], strict=True
            )
        ]
        while len(states) > 1:
            states = [
                merge(combine, states[i : i + _FAN_IN])
                for i in range(0, len(states), _FAN_IN)
            ]
        return dask.compute(states[0])[0]

    def blocks(self) -> Iterator[Block]:
        for block, start, stop in zip(
            self._blocks, self._starts[:-1], self._starts[1:], strict=True
        ):
            weight = None if self.weight is None else self.weight[start:stop]
            kind = {**self._kind, "n_rows": int(stop - start)}
            yield Block(int(start), check_block(block.compute(), **kind), weight)

    def map(
        self,
        function: Callable[..., Any],
        *args: Any,
        n_columns: int,
        dtype: DTypeLike | None = None,
    ) -> Any:
        return map_rows(
            self._X,
            function,
            *args,
            n_columns=n_columns,
            dtype=dtype,
            kind=self._kind,
            finite=self.finite,
        )

    def some_rows(self) -> Array | SparseMatrix:
        start = first_of_weight(self.weight)
        rows = self._rows_from(start) if start else self._first_rows
        return in_unit(of_weight(rows, self.weight, start), self.exponent)

    def _rows_from(self, start):
        """Return a few rows of a chunk, from row `start` of all on."""
        import dask

        chunk = int(np.searchsorted(self._starts, start, side="right")) - 1
        first = start - int(self._starts[chunk])
        rows = slice(first, first + FEW_ROWS)
        return dask.delayed(_take_rows)(self._blocks[chunk], rows, self.dtype).compute()

    def take(self, indices: Indices) -> "DaskRows":
        """Return the rows `indices`, kept in the memory of the workers."""
        import dask
        import dask.array as da

        edges = np.searchsorted(indices, self._starts)
        parts = []
        starts, stops = self._starts[:-1], self._starts[1:]
        for block, start, stop, a, b in zip(
            self._blocks, starts, stops, edges[:-1], edges[1:], strict=True
        ):
            if a < b:
                chosen, n_rows = indices[a:b] - start, int(stop - start)
                rows = dask.delayed(_take_rows)(block, chosen, self.dtype, n_rows)
                parts.append((rows, b - a))
        persisted = dask.persist(*[rows for rows, _ in parts])
        arrays = [
            da.from_delayed(rows, (n, self.shape[1]), meta=self._X._meta.astype(self.dtype))
            for rows, (_, n) in zip(persisted, parts, strict=True)
        ]
        weight = None if self.weight is None else self.weight[indices]
        taken = DaskRows(da.concatenate(arrays), weight=weight)
        taken.sparse, taken.exponent = self.sparse, self.exponent
        return taken


def map_rows(
    X: Any,
    function: Callable[..., Any],
    *args: Any,
    n_columns: int,
    dtype: DTypeLike | None = None,
    kind: DTypeLike | None = None,
    finite: bool = False,
) -> Any:
    """Apply ``function(values, *args)`` to every block of rows of `X`, lazily.

    `kind` is what `check_block` is to make of each; by default, of the working dtype.
    """
    X = X.rechunk({1: -1}) if X.numblocks[1] > 1 else X
    kind = {"dtype": working_dtype(X.dtype)} if kind is None else kind
    dtype = kind["dtype"] if dtype is None else np.dtype(dtype)
    return X.map_blocks(
        _map_block,
        function,
        args,
        kind,
        finite,
        chunks=(X.chunks[0], (n_columns,)),
        dtype=dtype,
        meta=np.empty((0, 0), dtype),
    )


def _n_rows(values):
    return values.shape[0]


def _nnz(values):
    return values.nnz if sp.issparse(values) else values.size


def _fold_block(function, values, start, kind, weight, arguments):
    block = Block(start, check_block(values, **kind), weight)
    with np.errstate(invalid="ignore", over="ignore"):
        return function(None, block, *arguments)


def _merge(combine, states):
    # The first is another task's result, which may be asked for again.
    merged = deepcopy(states[0])
    for state in states[1:]:
        merged = combine(merged, state)
    return merged


def _take_rows(values, indices, dtype, n_rows=None):
    # Only CSR, not COO, can be indexed.
    return check_block(values, n_rows=n_rows, dtype=dtype)[indices]


def _map_block(values, function, args, kind, finite, block_info=None):
    start, stop = block_info[0]["array-location"][0] if block_info else (0, np.nan)
    if not np.isnan(stop - start):
        kind = {**kind, "n_rows": stop - start}
    return map_block(function, check_block(values, **kind), *args, finite=finite)
