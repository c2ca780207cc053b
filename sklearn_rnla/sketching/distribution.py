"""What every sketch has: a description, a seed, and products by column slices."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import scipy.sparse as sp

from .._random import draw_seed, stream
from .._refusals import refuse_complex, refuse_masked
from .._typing import Array, ArrayAsX, ArrayLike, DTypeLike, InMemory, MatrixLike, Seed

# Columns of a sketch are drawn in tiles of this many, each with a stream of its own, so
# that any slice of columns can be drawn alone and is always the same.
TILE = 256


@dataclass(frozen=True)
class Distribution(ABC):
    """A distribution over sketches.

    Parameters
    ----------
    n_rows : int
        Sketch size: rows of S.
    n_columns : int
        Dimension sketched: columns of S.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_rnla.sketching import SparseSign
    >>> distribution = SparseSign(20, 1000)
    >>> S = distribution.sample(random_state=0)
    >>> (S @ np.ones((1000, 3))).shape
    (20, 3)
    """

    n_rows: int
    n_columns: int
    _operator: ClassVar[type]

    def __post_init__(self):
        for name in ("n_rows", "n_columns"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name}={getattr(self, name)} must be at least 1.")

    def sample(self, random_state: Seed = None) -> Sketch:
        """Draw a sketch.

        Parameters
        ----------
        random_state : None, int, RandomState or Generator
            Seeds the sketch. Applying it changes no random state.

        Returns
        -------
        Sketch
            Of shape (n_rows, n_columns).
        """
        return self._operator(self, draw_seed(random_state))


class Sketch(ABC):
    """A drawn sketch S, applied with ``@`` from either side.

    Parameters
    ----------
    distribution : Distribution
        What it was drawn from.
    seed : int
        Decides every entry, whatever the blocking and the number of threads.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_rnla.sketching import Gaussian
    >>> S = Gaussian(20, 1000).sample(random_state=0)
    >>> (S @ np.ones((1000, 3))).shape, (S.T @ np.ones((20, 3))).shape
    ((20, 3), (1000, 3))
    >>> S.to_dense().shape
    (20, 1000)
    """

    # Makes ndarray @ sketch come here.
    __array_ufunc__ = None
    __array_priority__ = 100

    def __init__(self, distribution: Distribution, seed: int) -> None:
        self.distribution = distribution
        self.seed = seed

    @property
    def shape(self) -> tuple[int, int]:
        """Shape (n_rows, n_columns)."""
        return (self.distribution.n_rows, self.distribution.n_columns)

    @property
    def T(self) -> Adjoint:
        """The adjoint."""
        return Adjoint(self)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.distribution}, seed={self.seed})"

    @abstractmethod
    def columns(self, start: int, stop: int, dtype: DTypeLike = np.float64) -> ArrayAsX:
        """Return ``S[:, start:stop]``.

        Parameters
        ----------
        start, stop : int
            A range of columns.
        dtype : numpy dtype, default=float64
            Type of the entries.

        Returns
        -------
        ndarray or csc_array of shape (n_rows, stop - start)
            The same entries whatever the range they are drawn in.
        """

    def apply(self, A: InMemory, start: int) -> Array:
        """Return ``S[:, start:start + b] @ A``, for a block A of b rows.

        Parameters
        ----------
        A : ndarray or sparse matrix of shape (b, n)
            Consecutive rows of a matrix.
        start : int
            Index of the first.

        Returns
        -------
        ndarray of shape (n_rows, n)
            What the block adds to the sketch of the whole.
        """
        product = self.columns(start, start + A.shape[0], float_dtype(A)) @ A
        return product.toarray() if sp.issparse(product) else np.asarray(product)

    def apply_adjoint(self, Y: Array, start: int, stop: int) -> Array:
        """Return ``S[:, start:stop].T @ Y``.

        Parameters
        ----------
        Y : ndarray or sparse matrix of shape (n_rows, n)
            A sketched matrix.
        start, stop : int
            A range of columns of S.

        Returns
        -------
        ndarray of shape (stop - start, n)
            Rows start:stop of ``S^T Y``.
        """
        product = self.columns(start, stop, float_dtype(Y)).T @ Y
        return product.toarray() if sp.issparse(product) else np.asarray(product)

    def prepare(self, size: int) -> None:  # noqa: B027 - most have nothing to get ready
        """Get ready for products with matrices of `size` entries, whatever their blocks.

        Parameters
        ----------
        size : int
            Stored entries in all.
        """

    def drawn(self, dtype: DTypeLike = np.float64) -> Any:
        """Return S as `project` takes it: drawn once, for many blocks of rows.

        Parameters
        ----------
        dtype : numpy dtype, default=float64
            Type of the entries.

        Returns
        -------
        object
            An array, or what the sketch needs instead of one.
        """
        return self.columns(0, self.shape[1], dtype)

    def project(self, A: InMemory, drawn: Any) -> Array:
        """Return ``A S^T``.

        Parameters
        ----------
        A : ndarray or csr_array of shape (b, n_columns)
            Rows of a matrix.
        drawn : object
            As `drawn` returns it.

        Returns
        -------
        ndarray of shape (b, n_rows)
            The same for a row, whatever the block it is in.
        """
        product = A @ drawn.T
        return product.toarray() if sp.issparse(product) else np.asarray(product)

    def to_dense(self) -> Array:
        """Return S itself.

        Returns
        -------
        ndarray of shape (n_rows, n_columns)
            All its entries, float64.
        """
        columns = self.columns(0, self.shape[1])
        return columns.toarray() if sp.issparse(columns) else columns

    def __matmul__(self, A: MatrixLike) -> Array:
        """Return ``S A`` for an ndarray, a sparse matrix or a row matrix A."""
        if hasattr(A, "fold"):
            _check_inner(self.shape[1], A.shape[0])
            return A.fold(_fold_sketch, self)[0]
        A = _as_operand(A)
        _check_inner(self.shape[1], A.shape[0])
        return self.apply(A, 0)

    def __rmatmul__(self, A: MatrixLike) -> Array:
        """Return ``A S``."""
        return (self.T @ _as_operand(A).T).T


class Adjoint:
    """The adjoint of a sketch."""

    __array_ufunc__ = None
    __array_priority__ = 100

    def __init__(self, sketch: Sketch) -> None:
        self.T = sketch
        self.shape = sketch.shape[::-1]

    def __matmul__(self, Y: ArrayLike) -> Array:
        """Return ``S^T Y``."""
        Y = _as_operand(Y)
        _check_inner(self.shape[1], Y.shape[0])
        return self.T.apply_adjoint(Y, 0, self.shape[0])

    def __rmatmul__(self, A: ArrayLike) -> Array:
        """Return ``A S^T`` for an ndarray, a sparse matrix or a row matrix A."""
        sketch = self.T
        A = A if hasattr(A, "map") else _as_operand(A)
        _check_inner(A.shape[1], self.shape[0])
        drawn = sketch.drawn(float_dtype(A))
        if hasattr(A, "map"):
            sketch.prepare(A.nnz)
            return A.map(project_rows, sketch, drawn, n_columns=self.shape[1])
        return sketch.project(A, drawn)


def _fold_sketch(state, block, sketch):
    part = sketch.apply(block.values, block.start)
    return [part] if state is None else [state[0] + part]


def project_rows(values, sketch, drawn):
    """Return ``B S^T`` for a block B, dense."""
    return sketch.project(values, drawn)


def fold_sparse_projection(state, block, sketch, drawn):
    """``B S^T`` in sparse form: ``[blocks]``."""
    part = [sketch.project_sparse(block.values, drawn)]
    return [part] if state is None else [state[0] + part]


def _as_operand(A):
    refuse_masked(A, "A")
    A = A if sp.issparse(A) else np.asarray(A)
    refuse_complex(A.dtype)
    return A


def float_dtype(A):
    """Return float32 for float32, float64 for all else."""
    return np.float32 if A.dtype == np.float32 else np.float64


def _check_inner(n_columns, n_rows):
    if n_columns != n_rows:
        raise ValueError(
            f"A sketch over {n_columns} dimensions cannot be applied to {n_rows}."
        )


def tiled(seed, start, stop, draw):
    """Concatenate ``draw(rng)`` of the tiles that cover start:stop, cut to it.

    `draw` returns an array whose last axis has `TILE` entries, one per column.
    """
    first, last = start // TILE, -(-stop // TILE)
    tiles = [draw(stream(seed, tile)) for tile in range(first, last)]
    whole = np.concatenate(tiles, axis=-1)
    return whole[..., start - first * TILE : stop - first * TILE]
