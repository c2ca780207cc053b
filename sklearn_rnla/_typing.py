"""Short names of the types in signatures."""

from collections.abc import Callable, Iterator
from typing import Any, Protocol, TypeAlias, TypeVar

import numpy as np
import scipy.sparse as sp
from numpy.typing import ArrayLike, DTypeLike, NDArray  # noqa: F401
from sklearn.utils import Tags  # noqa: F401 - for the estimators.

# What functions return: numbers in single or double precision, places, or anything.
Array: TypeAlias = NDArray[np.floating[Any]]
Indices: TypeAlias = NDArray[np.integer[Any]]
Mask: TypeAlias = NDArray[np.bool_]
AnyArray: TypeAlias = NDArray[Any]

# An array of the kind that X is: dense, sparse or lazy, or a data frame by `set_output`.
ArrayAsX: TypeAlias = Array | Any
# Only in a mode that whoever has set it knows of. Others need not tell the two apart.
OrNone: TypeAlias = Any
OrArray: TypeAlias = Any

SparseMatrix: TypeAlias = sp.sparray | sp.spmatrix


class RowSliceable(Protocol):
    """What is read a block of rows at a time: memmaps, arrays of HDF5, zarr or dask."""

    @property
    def shape(self) -> tuple[int, ...]: ...
    @property
    def dtype(self) -> Any: ...
    def __getitem__(self, rows: Any, /) -> Any: ...


class LinearOperator(Protocol):
    """What need only be multiplied by: that of scipy, pylops and others."""

    @property
    def shape(self) -> Any: ...
    @property
    def dtype(self) -> Any: ...
    def matvec(self, x: Any, /) -> Any: ...


# A decorated function has the signature that it had before.
F = TypeVar("F", bound=Callable[..., Any])

# Data frames are among what numpy takes for arrays.
InMemory: TypeAlias = ArrayLike | SparseMatrix
MatrixLike: TypeAlias = InMemory | RowSliceable
OperatorLike: TypeAlias = MatrixLike | LinearOperator
# Read once, a block of rows after another.
Blocks: TypeAlias = Iterator[InMemory]

Int: TypeAlias = int | np.integer[Any]
Float: TypeAlias = float | np.floating[Any]
Seed: TypeAlias = Int | np.random.RandomState | np.random.Generator | None

# A kernel of scikit-learn is called, too.
KernelLike: TypeAlias = str | Callable[..., Any]
Landmarks: TypeAlias = str | InMemory
# Arrays of numpy or of torch.
Tensor: TypeAlias = Array | Any
