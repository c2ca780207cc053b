"""Kernel functions, evaluated tile by tile: one product, then the function in place."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import scipy.sparse as sp
from scipy.spatial.distance import cdist
from sklearn.metrics.pairwise import KERNEL_PARAMS, pairwise_kernels

from .._sklearn import assert_all_finite
from .._typing import Array, DTypeLike, Indices, SparseMatrix
from .passes import row_squared_norms, scale_rows
from .psd_matrix import ExplicitMatrix, KernelMatrix
from .threads import consecutive, tile_rows

# Single precision is trusted with an exponent if its rounding error is at most this for
# pairs whose kernel value does not vanish.
_EXPONENT_ERROR = 1e-5

# Sparse landmarks with up to this many entries are made dense for products.
_DENSE_ENTRIES = 2**25

# Kernels that have negative eigenvalues on some data.
_INDEFINITE = frozenset({"sigmoid", "additive_chi2"})

_ONE_ON_THE_DIAGONAL = frozenset({"rbf", "laplacian", "chi2"})


class KernelSource(ABC):
    """Where the values of a kernel come from: a function of two samples, or a matrix.

    Attributes
    ----------
    indefinite : bool
        Whether the kernel is known to have negative eigenvalues on some data.
    takes_points : bool
        Whether the kernel is defined for any two points. A kernel matrix is defined for
        the samples alone.
    description : str
        The kernel as errors name it.
    """

    indefinite = False
    takes_points = True
    description: str

    def matrix(self, X: Array | SparseMatrix, n_jobs: int | None = None) -> KernelMatrix:
        """Return the kernel matrix of rows in memory, a `PSDMatrix`."""
        return KernelMatrix(self, X, n_jobs)

    def among(self, indices: Indices | None) -> "Kernel":
        """Return the same kernel for landmarks that are these samples.

        Only a kernel matrix needs to know which samples the landmarks are.

        Parameters
        ----------
        indices : ndarray of int of shape (m,) or None
            None where the landmarks are no samples.
        """
        return self

    def at(
        self, Z: Array | SparseMatrix, center: Array | None = None
    ) -> "_FiniteColumns | _RBFColumns":
        """Return the function of a tile of rows B that evaluates ``k(B, Z)``.

        Parameters
        ----------
        Z : ndarray or sparse matrix of shape (m, n_features)
            Landmarks.
        center : ndarray of shape (n_features,), default=None
            A point near the data, which lessens rounding; None is the landmarks' mean.

        Returns
        -------
        callable
            ``columns(B, dtype)`` is an ndarray of shape (n_rows, m). It raises ValueError
            where a value is NaN or infinite.
        """
        columns = self._columns(Z, center)
        if isinstance(columns, _RBFColumns) and not sp.issparse(Z):
            # An exponential of what is never positive, of data that are finite.
            return columns
        return _FiniteColumns(columns, self)

    @abstractmethod
    def _columns(self, Z, center):
        """Return what `at` returns, whose values are not checked yet."""

    def __call__(self, B: Array | SparseMatrix, Z: Array | SparseMatrix) -> Array:
        """Return ``k(B, Z)`` whole, in float64."""
        B, Z = (
            M.astype(np.float64) if sp.issparse(M) else np.asarray(M, np.float64)
            for M in (B, Z)
        )
        return self.at(Z)(B, np.float64)

    def diagonal(self, B: Array | SparseMatrix) -> Array:
        """Return ``k(b, b)`` for each row.

        Parameters
        ----------
        B : ndarray or sparse matrix of shape (n_rows, n_features)
            The rows.

        Returns
        -------
        ndarray of shape (n_rows,)
            In float64. ValueError is raised where a value is NaN or infinite.
        """
        with np.errstate(invalid="ignore", over="ignore"):
            values = self._variances(B)
        _check_values(values, self, B)
        return values

    @abstractmethod
    def _variances(self, B):
        """Return what `diagonal` returns, whose values are not checked yet."""


@dataclass(frozen=True)
class _FiniteColumns:
    """Columns of a kernel, which are checked as they are evaluated.

    A value that is not finite would spread to all features, and to all coefficients.
    """

    columns: Callable
    kernel: KernelSource

    def __call__(self, B: Array | SparseMatrix, dtype: DTypeLike) -> Array:
        with np.errstate(invalid="ignore", over="ignore"):
            K = self.columns(B, dtype)
        _check_values(K, self.kernel, B)
        return K


def _check_values(K, kernel, B):
    """Raise ValueError where the values of a kernel on rows B are not all finite."""
    with np.errstate(invalid="ignore", over="ignore"):
        # Sums by BLAS are fast, but may overflow without any infinity.
        sums = K @ np.ones(K.shape[-1], K.dtype)
        finite = np.isfinite(sums).all() or np.isfinite(K).all()
    if not finite:
        assert_all_finite(B, input_name="X")
        raise ValueError(
            f"The {kernel.description} is NaN or infinite for some of the samples: a "
            "kernel must be finite and positive semidefinite on all of them. Choose "
            "another kernel or other parameters, or scale the data."
        )


@dataclass(frozen=True)
class PrecomputedKernel(KernelSource):
    """The kernel matrix of the samples, in the place of a kernel function.

    A row of it takes the place of the features of a sample: it holds the kernel between
    this sample and all of them.

    Parameters
    ----------
    indices : ndarray of int of shape (m,), default=None
        The samples that are landmarks. None means that all of them are.
    """

    indices: np.ndarray | None = None
    takes_points = False
    description = "precomputed kernel"

    def matrix(self, X: Array | SparseMatrix, n_jobs: Any = None) -> ExplicitMatrix:
        return ExplicitMatrix(X, n_jobs)

    def among(self, indices: Indices) -> "PrecomputedKernel":
        return PrecomputedKernel(indices)

    def _columns(self, Z, center):
        return _ChosenColumns(slice(None) if self.indices is None else self.indices)

    def __call__(self, B: Array | SparseMatrix, Z: Array | SparseMatrix) -> Array:
        return self.at(Z)(B, np.float64)

    def _variances(self, B):
        return np.diagonal(self(B, B))


def kernel_state(kernel: Any) -> Any:
    """Return a kernel as plain values, for files; see `kernel_of_state`."""
    return (kernel.metric, kernel.params) if kernel.takes_points else None


def kernel_of_state(state: Any) -> KernelSource:
    """Return the kernel that `kernel_state` was given."""
    return PrecomputedKernel() if state is None else Kernel(*state)


@dataclass(frozen=True)
class _ChosenColumns:
    """Columns of a kernel matrix that is there."""

    indices: np.ndarray | slice

    def __call__(self, B, dtype):
        chosen = B[:, self.indices]
        return np.asarray(chosen if isinstance(B, np.ndarray) else chosen.toarray(), dtype)


@dataclass(frozen=True)
class Kernel(KernelSource):
    """A kernel function and its parameters.

    Parameters
    ----------
    metric : str or callable
        A name of scikit-learn's ``PAIRWISE_KERNEL_FUNCTIONS``, a kernel object of
        ``sklearn.gaussian_process.kernels`` without its noise, or a function of two
        samples.
    params : dict
        Its parameters; what a named kernel does not take is left out.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_rnla.operators import Kernel
    >>> kernel = Kernel("rbf", {"gamma": 0.5})
    >>> kernel(np.array([[0.0], [1.0]]), np.array([[0.0]])).round(4)
    array([[1.    ],
           [0.6065]])
    """

    metric: str | Callable
    params: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if isinstance(self.metric, str):
            metric = "polynomial" if self.metric == "poly" else self.metric
            taken = KERNEL_PARAMS[metric]
            params = {p: v for p, v in self.params.items() if p in taken and v is not None}
            object.__setattr__(self, "metric", metric)
            object.__setattr__(self, "params", params)

    @property
    def name(self) -> str:
        """The name of the kernel; empty for a callable."""
        return self.metric if isinstance(self.metric, str) else ""

    @property
    def indefinite(self) -> bool:
        """Whether the kernel is known to have negative eigenvalues on some data."""
        if self.name == "polynomial":
            return (self.params.get("coef0") or 0) < 0
        return self.name in _INDEFINITE

    @property
    def description(self) -> str:
        """The kernel as errors name it."""
        return f"kernel {self.metric!r}" + (f" with {self.params}" if self.params else "")

    def _columns(self, Z, center):
        if self.name == "rbf":
            return _RBFColumns(Z, self._gamma(Z), center)
        if self.name in _INNER_PRODUCT_KERNELS:
            return _InnerProductColumns(Z, self)
        if is_kernel_object(self.metric):
            return _CovarianceColumns(self._covariance.at(_dense(Z)))
        return _PairwiseColumns(Z, self)

    @property
    def _covariance(self):
        """The kernel object without its noise, which is no part of a kernel of points."""
        from .covariance import covariance

        return covariance(self.metric)

    def _variances(self, B):
        if self.name in _ONE_ON_THE_DIAGONAL:
            return np.ones(B.shape[0])
        if self.name == "additive_chi2":
            return np.zeros(B.shape[0])
        if self.name == "cosine":
            return (row_squared_norms(B) > 0).astype(np.float64)
        if self.name in _INNER_PRODUCT_KERNELS:
            values = self._gamma(B) * row_squared_norms(B)
            return _INNER_PRODUCT_KERNELS[self.metric](values, self.params)
        if is_kernel_object(self.metric):
            return self._covariance.diagonal(_dense(B))
        # A sparse row has two dimensions, as `pairwise_kernels` passes it.
        if isinstance(B, np.ndarray):
            return np.array([float(self.metric(b, b, **self.params)) for b in B])
        rows = (B[[i]] for i in range(B.shape[0]))
        with self.explained():
            return np.array([float(self.metric(b, b, **self.params)) for b in rows])

    @contextmanager
    def explained(self) -> Iterator[None]:
        """Say what a function is given, where it fails on sparse rows."""
        try:
            yield
        except Exception as error:
            raise TypeError(
                f"The {self.description} failed on sparse rows, which it is given as "
                f"sparse matrices of shape (1, n_features): {error} Pass dense data, or a "
                "kernel that takes these."
            ) from error

    def _gamma(self, X):
        if "gamma" not in KERNEL_PARAMS[self.metric]:
            return 1.0
        return self.params.get("gamma", 1.0 / X.shape[1])


def is_kernel_object(metric: Any) -> bool:
    """Whether `metric` is one of ``sklearn.gaussian_process.kernels``; imports nothing."""
    return hasattr(metric, "diag") and hasattr(metric, "clone_with_theta")


def _linear(values, params):
    return values


def _polynomial(values, params):
    values += params.get("coef0", 1)
    degree = params.get("degree", 3)
    if degree == 2:
        values *= values
    elif degree == 3:
        values *= values * values
    elif degree != 1:
        np.power(values, degree, out=values)
    return values


def _sigmoid(values, params):
    values += params.get("coef0", 1)
    return np.tanh(values, out=values)


# Functions, in place, of gamma times the inner products.
_INNER_PRODUCT_KERNELS = {
    "linear": _linear,
    "cosine": _linear,
    "polynomial": _polynomial,
    "sigmoid": _sigmoid,
}


def _product(B, Zt):
    """Return ``B Zt`` as an ndarray, whichever of the two is sparse."""
    product = B @ Zt
    return product.toarray() if sp.issparse(product) else np.asarray(product)


def _transposed(Z, dtype, scale=1.0):
    """Return ``scale Z^T`` for products: dense unless that takes too much memory."""
    if sp.issparse(Z):
        if np.prod(Z.shape, dtype=np.int64) > _DENSE_ENTRIES:
            return sp.csc_array((Z * scale).T.astype(dtype))
        Z = Z.toarray()
    return np.asarray(Z.T * scale, dtype=dtype)


class _RBFColumns:
    """``exp(-gamma ||b - z||^2)``, the whole exponent from one product.

    Rows ``[b, -gamma b.b, 1]`` times columns ``[2 gamma z, 1, -gamma z.z]``, about a
    centre. Rounding loses the difference of large norms; where only one of the two is
    large, the kernel vanishes. Pairs of large ones are computed in double instead, or,
    where that loses it too, from the differences themselves.
    """

    def __init__(self, Z: Array | SparseMatrix, gamma: float, center: Array | None) -> None:
        self.gamma = gamma
        self._sparse = sp.issparse(Z)
        if self._sparse:
            self._center = None
        else:
            center = Z.mean(axis=0, dtype=np.float64) if center is None else center
            # A centre in single precision leaves differences that are rounded once.
            self._center = center.astype(Z.dtype)
        self._points = Z
        self._norms = -gamma * row_squared_norms(self._Z)
        self._right = {}

    @property
    def _Z(self):
        """The landmarks about the centre, which is no copy worth keeping."""
        if self._sparse:
            return self._points
        return np.subtract(self._points, self._center, dtype=np.float64)

    def __getstate__(self) -> SparseMatrix | dict[str, Array | float]:
        return self.__dict__ | {"_right": {}}

    def __call__(
        self, B: Array | SparseMatrix, dtype: DTypeLike, norms: Array | None = None
    ) -> Array:
        dtype = np.dtype(dtype)
        if self._sparse:
            return self._of_sparse(B, dtype)
        # A sparse row is dense once the centre of the landmarks is subtracted.
        B = B.toarray() if sp.issparse(B) else B
        # Rows whose norms are known are those of a kernel matrix, whose columns are wanted.
        order = "C" if norms is None else "F"
        K = np.empty((len(B), len(self._points)), dtype, order)
        for part in consecutive(len(B), tile_rows(B.shape[1], 8)):
            self._evaluate(B[part], K[part], None if norms is None else norms[part])
        return _exp(K)

    def norms(self, B: Array) -> Array:
        """Return ``-gamma ||b - center||^2`` of dense rows, which a call may be given."""
        tiles = (B[part] for part in consecutive(len(B), tile_rows(B.shape[1], 8)))
        norms = [self._norms_of(self._centered(tile, B.dtype)) for tile in tiles]
        return np.concatenate([np.empty(0), *norms])

    def _norms_of(self, centered):
        # Converted first: a sum that converts on its way takes longer.
        return -self.gamma * row_squared_norms(centered.astype(np.float64, copy=False))

    def _centered(self, B, dtype, more=0):
        """Return rows less the centre, in single precision if all are, and free columns."""
        single = self._center.dtype == B.dtype == dtype == np.float32
        rows = np.empty((len(B), B.shape[1] + more), np.float32 if single else np.float64)
        np.subtract(B, self._center, out=rows[:, : B.shape[1]])
        return rows

    @np.errstate(over="ignore", invalid="ignore")
    def _evaluate(self, B, K, norms):
        """Write the exponents to K."""
        rows = self._centered(B, K.dtype, more=2)
        norms = self._norms_of(rows[:, :-2]) if norms is None else norms
        rows[:, -2], rows[:, -1] = norms, 1
        np.matmul(rows.astype(K.dtype, copy=False), self._columns(K.dtype), out=K)
        _set_out_of_range(K, norms)
        # First what single precision loses is computed in double, then what that loses,
        # too, from the differences.
        if K.dtype != np.float64:
            far_rows, far_columns = far = self._far(norms, K.dtype)
            if far_columns.size:
                double = self._columns(np.dtype(np.float64))[:, far_columns[0]]
                K[far] = rows[far_rows[:, 0]].astype(np.float64) @ double
        far_rows, far_columns = far = self._far(norms, np.float64)
        if far_columns.size:
            K[far] = -self.gamma * cdist(
                rows[far_rows[:, 0], :-2], self._Z[far_columns[0]], "sqeuclidean"
            )

    def _columns(self, dtype):
        if dtype not in self._right:
            columns = np.empty((self._points.shape[1] + 2, len(self._points)), dtype)
            columns[:-2] = 2 * self.gamma * self._Z.T
            columns[-2] = 1
            columns[-1] = self._norms
            self._right[dtype] = columns
        return self._right[dtype]

    def _far(self, norms, dtype):
        """Return the block of rows and columns whose norms `dtype` does not resolve."""
        limit = -_EXPONENT_ERROR / np.finfo(dtype).eps / 2
        rows = np.flatnonzero(norms < limit)
        columns = np.flatnonzero(self._norms < limit) if len(rows) else rows
        return np.ix_(rows, columns)

    @np.errstate(over="ignore", invalid="ignore")
    def _of_sparse(self, B, dtype):
        norms = -self.gamma * row_squared_norms(B)
        far = self._far(norms, dtype)[1].size
        working = np.dtype(np.float64) if far else dtype
        if working not in self._right:
            self._right[working] = _transposed(self._Z, working, 2 * self.gamma)
        K = _product(B.astype(working, copy=False), self._right[working])
        K += norms[:, np.newaxis].astype(working)
        K += self._norms.astype(working)
        _set_out_of_range(K, norms)
        return _exp(K).astype(dtype, copy=False)


def _set_out_of_range(K, norms):
    """Set the exponents of rows whose squared norms are out of range, which are NaN."""
    K[np.isinf(norms.astype(K.dtype))] = -np.inf


def _exp(K):
    # Rounding can make a squared distance negative.
    np.minimum(K, 0, out=K)
    return np.exp(K, out=K)


class _InnerProductColumns:
    """Functions of inner products."""

    def __init__(self, Z, kernel):
        self.kernel = kernel
        self._cosine = kernel.metric == "cosine"
        if self._cosine:
            Z = _unit_rows(Z)
        self._Z = Z
        self._gamma = kernel._gamma(Z)
        self._right = {}

    def __getstate__(self):
        return self.__dict__ | {"_right": {}}

    def __call__(self, B, dtype):
        dtype = np.dtype(dtype)
        if dtype not in self._right:
            self._right[dtype] = _transposed(self._Z, dtype, self._gamma)
        K = _product(B.astype(dtype, copy=False), self._right[dtype])
        if self._cosine:
            K *= _inverse_norms(B)[:, np.newaxis].astype(dtype)
        return _INNER_PRODUCT_KERNELS[self.kernel.metric](K, self.kernel.params)


def _inverse_norms(B):
    norms = np.sqrt(row_squared_norms(B))
    return np.where(norms > 0, 1 / np.where(norms > 0, norms, 1.0), 0.0)


def _unit_rows(Z):
    scale = _inverse_norms(Z)
    return scale_rows(Z, scale[:, np.newaxis])


@dataclass(frozen=True)
class _CovarianceColumns:
    """Values of a kernel object, which takes dense rows."""

    columns: Callable

    def __call__(self, B, dtype):
        return self.columns(_dense(B), dtype)


def _dense(B):
    return np.asarray(B.toarray() if sp.issparse(B) else B, np.float64)


class _PairwiseColumns:
    """Whatever scikit-learn's `pairwise_kernels` knows."""

    def __init__(self, Z, kernel):
        self.kernel = kernel
        self._Z = _as_compiled_code_takes_it(Z)

    def __call__(self, B, dtype):
        metric, params = self.kernel.metric, self.kernel.params
        B = _as_compiled_code_takes_it(B)
        if callable(metric) and (sp.issparse(B) or sp.issparse(self._Z)):
            with self.kernel.explained():
                K = pairwise_kernels(B, self._Z, metric=metric, **params)
        else:
            K = pairwise_kernels(B, self._Z, metric=metric, **params)
        return np.asarray(K, dtype=dtype)


def _as_compiled_code_takes_it(X):
    """Return rows with indices of 32 bits, or writeable: scikit-learn's loops ask it."""
    if not sp.issparse(X):
        return X if X.flags.writeable else X.copy()
    if X.indices.dtype == np.int32 or max(X.nnz, *X.shape) > np.iinfo(np.int32).max:
        return X
    indices = X.indices.astype(np.int32), X.indptr.astype(np.int32)
    return type(X)((X.data, *indices), shape=X.shape)
