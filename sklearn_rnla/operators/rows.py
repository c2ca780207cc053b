"""The row matrix: a matrix cut into row blocks, and one operation on them.

Every large computation of the package is a *pass*: fold a function over the blocks and
add up the small states it leaves. Nothing else reads the data.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from copy import copy
from dataclasses import dataclass
from functools import reduce
from typing import Any

import numpy as np
import scipy.sparse as sp

from .._refusals import (
    refuse_complex,
    refuse_containers,
    refuse_masked,
    refuse_not_finite,
)
from .._typing import AnyArray, Array, DTypeLike, Indices, Mask, SparseMatrix
from .stacking import stack_rows
from .threads import MAX_LANES, check_jobs, consecutive, run_lanes, split

# Bytes of a dense block: small enough that the second product of a fused pass finds the
# block in cache, large enough that BLAS runs at speed.
BLOCK_BYTES = 8 * 2**20

# Rows that tell where the data lie.
FEW_ROWS = 16


def working_dtype(dtype: DTypeLike) -> np.dtype:
    """Return float32 for float32 and narrower floats, float64 for other real numbers.

    Raises
    ------
    ValueError
        When it is not a dtype of real numbers.
    """
    dtype = np.dtype(dtype)
    refuse_complex(dtype)
    if dtype.kind not in "fiub":
        raise ValueError(f"Numbers are needed, but the dtype is {dtype}.")
    narrow = dtype.kind == "f" and dtype.itemsize <= 4
    return np.dtype(np.float32 if narrow else np.float64)


def check_block(
    values: AnyArray | SparseMatrix | dict[str, int],
    n_features: int | None = None,
    *,
    n_rows: int | None = None,
    dtype: DTypeLike | None = None,
    sparse: bool | None = None,
    exponent: int = 0,
) -> Array | SparseMatrix:
    """Return rows as all passes expect them; every source calls this for what it reads.

    Parameters
    ----------
    values : array-like or sparse matrix
        What a source gave.
    n_features : int, default=None
        Columns that it must have.
    n_rows : int, default=None
        Rows that it must have.
    dtype : numpy dtype, default=None
        Of the result; None is the `working_dtype`.
    sparse : bool, default=None
        Whether the result is to be sparse; None leaves it as it is.
    exponent : int, default=0
        The result is divided by two to this power, see `RowMatrix.in_unit`.

    Returns
    -------
    ndarray or csr_array
        A view where possible. Sparse rows are canonical: entries are sorted, and
        duplicates summed, in a copy.

    Raises
    ------
    ValueError
        When they are not two-dimensional, of other rows or columns, masked, or not real
        numbers.
    TypeError
        When they are no array at all.
    """
    refuse_masked(values)
    if hasattr(values, "to_scipy_sparse"):
        # Arrays of the package `sparse`.
        values = values.to_scipy_sparse()
    is_sparse = sp.issparse(values)
    if not (is_sparse or isinstance(values, list | tuple) or hasattr(values, "__array__")):
        refuse_containers(values)
        raise TypeError(
            f"A slice or block of rows of X is of type {type(values).__name__}, but must "
            "be an array or a scipy sparse matrix."
        )
    values = values if is_sparse else np.asarray(values)
    working = working_dtype(values.dtype)
    dtype = working if dtype is None else dtype
    if values.ndim != 2:
        raise ValueError(f"Expected 2D blocks, got {values.ndim}D block instead.")
    if n_features is not None and values.shape[1] != n_features:
        raise ValueError(
            f"A block has {values.shape[1]} features, but the first block has "
            f"{n_features} features."
        )
    if n_rows is not None and values.shape[0] != n_rows:
        raise ValueError(
            f"A block has {values.shape[0]} rows, but {n_rows} rows were asked for: X must "
            "have as many rows as its shape says, the same ones in every pass."
        )
    if is_sparse and sparse is False:
        values = values.toarray()
    if isinstance(values, np.ndarray) and not sparse:
        return in_unit(values.astype(dtype, copy=False), exponent)
    values = sp.csr_array(values).astype(dtype, copy=False)
    if not values.has_canonical_format:
        values = values.copy()
        values.sum_duplicates()
    return in_unit(values, exponent)


def in_unit(values: Array | SparseMatrix, exponent: int) -> Array | SparseMatrix:
    """Return rows divided by two to the power `exponent`, a copy where that is not 0."""
    if exponent == 0:
        return values
    if isinstance(values, np.ndarray):
        return np.ldexp(values, -exponent)
    data = np.ldexp(values.data, -exponent)
    scaled = sp.csr_array((data, values.indices, values.indptr), shape=values.shape)
    scaled.has_canonical_format = True
    return scaled


def first_of_weight(weight: Array | None) -> int:
    """Return the first index whose weight is no less than half the mean weight."""
    return 0 if weight is None else int(np.argmax(is_typical(weight)))


def is_typical(weight: Array) -> Mask:
    """Return a mask of the weights that are no less than half their mean: never empty."""
    return weight >= weight.mean(dtype=np.float64) / 2


def of_weight(
    values: Array | SparseMatrix, weight: Array | None, start: int
) -> Array | SparseMatrix:
    """Return those of consecutive rows from `start` on whose weight is typical."""
    if weight is None:
        return values
    return values[is_typical(weight)[start : start + values.shape[0]]]


@dataclass(frozen=True)
class Block:
    """Consecutive rows of a matrix.

    Parameters
    ----------
    start : int
        Index of the first row in the whole matrix.
    values : ndarray or csr_array of shape (n_rows, n_features)
        The rows.
    weight : ndarray of shape (n_rows,) or None
        Weights of the rows; None where all are one.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_rnla.operators import as_row_matrix
    >>> rows = as_row_matrix(np.arange(12.0).reshape(6, 2), block_size=3)
    >>> [(block.start, block.values.shape) for block in rows.blocks()]
    [(0, (3, 2)), (3, (3, 2))]
    """

    start: int
    values: object
    weight: np.ndarray | None = None

    def pieces(self, size: int) -> Iterator[Block]:
        """Yield the rows as blocks of some rows each.

        Parameters
        ----------
        size : int
            Rows of each block but the last, which may have fewer.

        Yields
        ------
        Block
        """
        for part in consecutive(self.values.shape[0], size):
            weight = None if self.weight is None else self.weight[part]
            yield Block(self.start + part.start, self.values[part], weight)


def map_block(
    function: Callable[..., Any],
    values: Array | SparseMatrix,
    *args: Any,
    resident: bool = False,
    finite: bool = False,
) -> Array:
    """Return what a function makes of a block; raise where the block is not finite.

    Parameters
    ----------
    function : callable
        ``function(values, *args) -> ndarray``.
    values : ndarray or csr_array
        The block.
    *args : object
        Passed on unchanged.
    resident : bool, default=False
        Whether the rows were in memory before. Then the result is looked at, which is
        smaller than the block, and shows what linear maps are applied to. Reading lazy
        rows takes longer than to look at each of them.
    finite : bool, default=False
        See `RowMatrix`.
    """
    if finite:
        return function(values, *args)
    if not resident:
        refuse_not_finite(values)
    with np.errstate(invalid="ignore", over="ignore"):
        out = function(values, *args)
        total = out.sum() if resident else 0.0
    if not np.isfinite(total):
        # Of the function's own making, where the block is finite.
        refuse_not_finite(values)
    return out


def add_states(
    left: SparseMatrix | list[Any] | None, right: SparseMatrix | list[Any] | None
) -> SparseMatrix | list[Any] | None:
    """Add the arrays and numbers of `right` to those of the list `left`, in place."""
    if left is None:
        return right
    for i, term in enumerate(right):
        left[i] += term
    return left


class RowMatrix(ABC):
    """A matrix of shape (n_rows, n_features) that is read in row blocks.

    Attributes
    ----------
    shape : tuple of int
        The number of rows is None for a stream that has not been read yet.
    dtype : numpy dtype
        float32 or float64: that of the blocks and of the products.
    sparse : bool
        Whether the blocks are CSR.
    weight : ndarray of shape (n_rows,) or None
        Row weights.
    nnz : int
        Number of stored entries.
    rereadable : bool
        Whether a second pass is possible.
    lazy : bool
        Whether `map` returns a lazy array.
    finite : bool
        Whether all entries are known to be finite, or functions take those that are not;
        if not, `map` looks.
    exponent : int
        What is read is divided by two to this power.
    block_rows : int
        Most rows of a block; of a stream, of those read so far.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_rnla.operators import as_row_matrix
    >>> rows = as_row_matrix(np.arange(10.0).reshape(5, 2), block_size=3)
    >>> rows.shape, rows.sparse, rows.rereadable
    ((5, 2), False, True)
    """

    shape: tuple[Any, ...]
    dtype: np.dtype
    sparse: bool
    weight: np.ndarray | None
    nnz: int
    rereadable = True
    lazy = False
    finite = False
    exponent = 0
    block_rows: int

    @property
    def n_samples(self) -> int | None:
        """Number of rows, weights taken as repetitions; None for an unread stream."""
        if self.weight is None:
            return self.shape[0]
        return max(np.count_nonzero(self.weight), int(self.weight.sum(dtype=np.float64)))

    def with_weight(self, weight: Array | None) -> RowMatrix:
        """Return the same rows with other weights.

        Parameters
        ----------
        weight : ndarray of shape (n_rows,)
            The weights, not checked.

        Returns
        -------
        RowMatrix
            A view: the rows are not copied.
        """
        weighted = copy(self)
        weighted.weight = weight
        return weighted

    def with_dtype(self, dtype: DTypeLike) -> RowMatrix:
        """Return the same rows in another precision, converted block by block.

        Parameters
        ----------
        dtype : numpy dtype
            Either float32 or float64.

        Returns
        -------
        RowMatrix
            A view: the rows are not copied.
        """
        converted = copy(self)
        converted.dtype = np.dtype(dtype)
        if self.weight is not None:
            converted.weight = self.weight.astype(dtype)
        return converted

    def in_unit(self, exponent: int) -> RowMatrix:
        """Return the same rows in another unit, converted block by block.

        Parameters
        ----------
        exponent : int
            Blocks are what is stored, divided by two to this power, which is exact.

        Returns
        -------
        RowMatrix
            A view: the rows are not copied.
        """
        converted = copy(self)
        converted.exponent = exponent
        return converted

    def unchecked(self) -> RowMatrix:
        """Return the same rows for functions that take entries that are not finite.

        Returns
        -------
        RowMatrix
            A view, of which `map` does not look at the entries.
        """
        unchecked = copy(self)
        unchecked.finite = True
        return unchecked

    @abstractmethod
    def fold(
        self,
        function: Callable[..., Any],
        *args: Any,
        combine: Callable[..., Any] = add_states,
    ) -> Any:
        """Fold `function` over the blocks.

        Parameters
        ----------
        function : callable
            ``function(state, block, *args) -> state``, where `state` is None or what
            this function returned for the preceding block; it may change `state` in
            place. A module-level function, so that it travels to other processes.
        *args : object
            Passed on unchanged.
        combine : callable
            Merges two states, in row order; it may change the first in place.

        Returns
        -------
        object
            The state of all blocks.
        """

    @abstractmethod
    def blocks(self) -> Iterator[Block]:
        """Yield the blocks in order, in this process."""

    def in_memory(self) -> Array | SparseMatrix:
        """Return all rows as one array, a view where possible.

        Returns
        -------
        ndarray or csr_array of shape (n_rows, n_features)
            In this process.
        """
        return stack_rows([block.values for block in self.blocks()])

    @abstractmethod
    def map(
        self,
        function: Callable[..., Any],
        *args: Any,
        n_columns: int | None,
        dtype: DTypeLike | None = None,
    ) -> Any:
        """Apply a function to every block and stack what it returns.

        Parameters
        ----------
        function : callable
            ``function(values, *args) -> ndarray`` with a row for each of the block's.
        *args : object
            Passed on unchanged.
        n_columns : int
            Columns that `function` returns.
        dtype : numpy dtype, default=None
            Of the result; None is that of the rows.

        Returns
        -------
        ndarray of shape (n_rows, n_columns)
            A lazy array where the source is lazy.

        Raises
        ------
        ValueError
            When the rows are not finite; of a lazy array, when it is computed.
        """

    @abstractmethod
    def some_rows(self) -> Any:
        """Return a few rows that have weight, at least one, as an ndarray or csr_array.

        They tell where the data lie: rows of next to no weight may lie anywhere.
        """

    @abstractmethod
    def take(self, indices: Indices) -> RowMatrix:
        """Return some of the rows.

        Parameters
        ----------
        indices : ndarray of int
            Sorted and distinct.

        Returns
        -------
        RowMatrix
            Those rows, with their weights.
        """


class LocalRowMatrix(RowMatrix):
    """A row matrix whose blocks are made in this process, any number of times.

    Attributes
    ----------
    resident : bool
        Whether the rows are in memory.
    """

    resident = True

    def __init__(
        self,
        shape: tuple[int, ...],
        dtype: DTypeLike,
        *,
        block_rows: int,
        weight: Array | None = None,
        n_jobs: int | None = None,
    ) -> None:
        self.shape: Any = shape
        self.dtype: np.dtype[Any] = np.dtype(dtype)
        self.weight = weight
        self.n_jobs: int | None = check_jobs(n_jobs)
        self.block_rows: int = min(block_rows, shape[0])
        blocks = split(shape[0], block_rows)
        self._lanes = [blocks[s] for s in split(len(blocks), -(-len(blocks) // MAX_LANES))]

    @abstractmethod
    def values(self, rows: slice) -> Any:
        """Return the rows as an ndarray or a csr_array, as a view where possible."""

    def some_rows(self) -> Array | SparseMatrix:
        start = first_of_weight(self.weight)
        rows = slice(start, min(start + FEW_ROWS, self.shape[0]))
        return of_weight(self.values(rows), self.weight, start)

    def in_memory(self) -> Array | SparseMatrix:
        return self.values(slice(0, self.shape[0]))

    def block(self, rows: slice) -> Block:
        """Return a block with its weights."""
        weight = None if self.weight is None else self.weight[rows]
        return Block(rows.start, self.values(rows), weight)

    def blocks(self) -> Iterator[Block]:
        for lane in self._lanes:
            for rows in lane:
                yield self.block(rows)

    def fold(
        self,
        function: Callable[..., Any],
        *args: Any,
        combine: Callable[..., Any] = add_states,
    ) -> Any:
        def run(lane):
            state = None
            # NaN and infinity are looked for in the sums, once.
            with np.errstate(invalid="ignore", over="ignore"):
                for rows in lane:
                    state = function(state, self.block(rows), *args)
            return state

        return reduce(combine, run_lanes(run, self._lanes, self.n_jobs))

    def map(
        self,
        function: Callable[..., Any],
        *args: Any,
        n_columns: int | None,
        dtype: DTypeLike | None = None,
    ) -> Any:
        out = np.empty((self.shape[0], n_columns), self.dtype if dtype is None else dtype)

        def run(lane):
            for rows in lane:
                out[rows] = map_block(
                    function,
                    self.values(rows),
                    *args,
                    resident=self.resident,
                    finite=self.finite,
                )

        for _ in run_lanes(run, self._lanes, self.n_jobs):
            pass
        return out
