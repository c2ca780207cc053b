"""Rows of a dask array: every pass is a graph, only its small state comes back."""

from __future__ import annotations

from copy import deepcopy

import numpy as np
import scipy.sparse as sp

from .rows import Block, RowMatrix, add_states, working_dtype

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

    def __init__(self, X, *, weight=None):
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
        self.shape = (int(self._starts[-1]), X.shape[1])
        self.dtype = working_dtype(X.dtype)
        self.sparse = sp.issparse(getattr(X, "_meta", None))
        self.nnz = self.shape[0] * self.shape[1]
        if self.sparse:
            counts = [dask.delayed(_nnz)(block) for block in self._blocks]
            self.nnz = sum(dask.compute(*counts))
        self.weight = weight

    def fold(self, function, *args, combine=add_states):
        import dask

        step = dask.delayed(_fold_block, pure=False)
        merge = dask.delayed(_merge, pure=False)
        # Delayed once, the arguments are one node of the graph, sent to a worker once.
        arguments = dask.delayed(args, traverse=False)
        states = [
            step(
                function,
                block,
                int(start),
                self.dtype,
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

    def blocks(self):
        for block, start, stop in zip(
            self._blocks, self._starts[:-1], self._starts[1:], strict=True
        ):
            weight = None if self.weight is None else self.weight[start:stop]
            yield Block(int(start), _as_block(block.compute(), self.dtype), weight)

    def map(self, function, *args, n_columns, dtype=None):
        return map_rows(self._X, function, *args, n_columns=n_columns, dtype=dtype)

    def head(self):
        import dask

        first = int(np.searchsorted(self._starts, 0, side="right")) - 1
        rows = dask.delayed(_take_rows)(self._blocks[first], slice(16), self.dtype)
        return rows.compute()

    def take(self, indices):
        """Return the rows `indices`, kept in the memory of the workers."""
        import dask
        import dask.array as da

        edges = np.searchsorted(indices, self._starts)
        parts = []
        for block, start, a, b in zip(
            self._blocks, self._starts[:-1], edges[:-1], edges[1:], strict=True
        ):
            if a < b:
                rows = dask.delayed(_take_rows)(block, indices[a:b] - start, self.dtype)
                parts.append((rows, b - a))
        persisted = dask.persist(*[rows for rows, _ in parts])
        arrays = [
            da.from_delayed(rows, (n, self.shape[1]), meta=self._X._meta.astype(self.dtype))
            for rows, (_, n) in zip(persisted, parts, strict=True)
        ]
        weight = None if self.weight is None else self.weight[indices]
        return DaskRows(da.concatenate(arrays), weight=weight)


def map_rows(X, function, *args, n_columns, dtype=None):
    """Apply ``function(values, *args)`` to every block of rows of `X`, lazily."""
    X = X.rechunk({1: -1}) if X.numblocks[1] > 1 else X
    working = working_dtype(X.dtype)
    dtype = working if dtype is None else np.dtype(dtype)
    return X.map_blocks(
        _map_block,
        function,
        args,
        working,
        chunks=(X.chunks[0], (n_columns,)),
        dtype=dtype,
        meta=np.empty((0, 0), dtype),
    )


def _n_rows(values):
    return values.shape[0]


def _nnz(values):
    return values.nnz


def _as_block(values, dtype):
    if sp.issparse(values):
        return sp.csr_array(values, dtype=dtype)
    return np.asarray(values, dtype=dtype)


def _fold_block(function, values, start, dtype, weight, arguments):
    block = Block(start, _as_block(values, dtype), weight)
    with np.errstate(invalid="ignore", over="ignore"):
        return function(None, block, *arguments)


def _merge(combine, states):
    # The first is another task's result, which may be asked for again.
    merged = deepcopy(states[0])
    for state in states[1:]:
        merged = combine(merged, state)
    return merged


def _take_rows(values, indices, dtype):
    return _as_block(values[indices], dtype)


def _map_block(values, function, args, dtype):
    return function(_as_block(values, dtype), *args)
