"""Driver: an orthonormal basis of the range, and how much of the matrix it misses."""

import math
from numbers import Integral
from typing import Literal, NamedTuple

import numpy as np
from sklearn.utils.validation import check_array

from .._random import generator
from .._sklearn import Interval, StrOptions, validated
from .._typing import ArrayLike, Blocks, Int, MatrixLike, Seed
from .._validation import check_matrix, check_rank
from ..operators import CenteredMatrix, Moments, passes
from ..operators.scaling import is_in_range
from ..operators.sources import refuse_not_in_memory
from ..sketching import Gaussian, make_distribution
from .dense.orth import complete_rows, orthonormal_rows


class Range(NamedTuple):
    """An orthonormal basis Q for the range of A, and its error ``A - Q Q^T A``.

    Attributes
    ----------
    Q : ndarray of shape (n_rows, r)
        Orthonormal columns; r is below the size asked for where A has lower rank.
    frobenius_error : float
        Estimate of the Frobenius norm of the error, unbiased in its square, with a
        relative standard deviation of ``sqrt(2 / n_probes)`` at most in its square.
    spectral_bound : float
        Exceeds the spectral norm of the error with probability
        ``1 - 10^-n_probes`` at least.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_rnla.linalg import range_finder
    >>> rng = np.random.default_rng(0)
    >>> A = rng.standard_normal((100, 5)) @ rng.standard_normal((5, 40))
    >>> found = range_finder(A, 5, random_state=0)
    >>> found.Q.shape
    (100, 5)
    >>> found.frobenius_error < 1e-6, found.spectral_bound < 1e-6
    (True, True)
    """

    Q: np.ndarray
    frobenius_error: float
    spectral_bound: float


class ProjectionError(NamedTuple):
    """The error ``A - A V^T V`` of a projection of the rows of A.

    Attributes
    ----------
    frobenius : float
        Its Frobenius norm.
    relative : float
        The same over the Frobenius norm of A.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_rnla.linalg import projection_error
    >>> A = np.diag([4.0, 3.0])
    >>> error = projection_error(A, np.array([[1.0, 0.0]]))
    >>> round(error.frobenius, 6), round(error.relative, 6)
    (3.0, 0.6)
    """

    frobenius: float
    relative: float


@validated(
    size=[Interval(Integral, 1, None, closed="left")],
    n_power_iterations=[Interval(Integral, 0, None, closed="left")],
    n_probes=[Interval(Integral, 1, None, closed="left")],
    sketch=[StrOptions({"gaussian", "sparse_sign", "srtt"})],
    n_jobs=[Integral, None],
)
def range_finder(
    A: MatrixLike,
    size: Int,
    *,
    n_power_iterations: Int = 0,
    sketch: Literal["gaussian", "sparse_sign", "srtt"] = "gaussian",
    n_probes: Int = 10,
    n_jobs: Int | None = None,
    random_state: Seed = None,
) -> Range:
    """Find an orthonormal basis that captures the range of a matrix.

    Parameters
    ----------
    A : array-like, sparse matrix, memmap or row-sliceable
        Of shape (n_rows, n_columns).
    size : int
        Number of basis vectors: the rank wanted plus oversampling, at most
        ``min(A.shape)``.
    n_power_iterations : int, default=0
        Number of passes of subspace iteration before, for a slowly decaying spectrum.
    sketch : {"gaussian", "sparse_sign", "srtt"}, default="gaussian"
        Distribution of the test matrix.
    n_probes : int, default=10
        Number of independent Gaussian vectors that measure the error.
    n_jobs : int, default=None
        Number of threads over row blocks.
    random_state : int, RandomState instance, Generator or None, default=None
        Seed of the random numbers. Pass an int for reproducible results.

    Returns
    -------
    Range
        ``(Q, frobenius_error, spectral_bound)``.

    Raises
    ------
    ValueError
        When A has NaN or infinity, or `size` exceeds ``min(A.shape)``.

    Notes
    -----
    Halko, Martinsson & Tropp (2011), algorithms 4.1 and 4.4; the expected errors are those
    of theorems 10.5 and 10.6, the bound is equation 4.3 with alpha = 10. It makes one pass
    and one more for each power iteration; the probes are multiplied in the last pass.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_rnla.linalg import range_finder
    >>> A = np.random.default_rng(0).standard_normal((50, 3)) @ np.ones((3, 20))
    >>> range_finder(A, 4, random_state=0).Q.shape
    (50, 1)
    """
    rows = check_matrix(A, rereads=True, n_jobs=n_jobs)
    size = int(size)
    check_rank("size", size, rows.shape)
    rng = generator(random_state)
    n_columns = rows.shape[1]
    # The test matrix of algorithm 4.1, as rows.
    omega = make_distribution(sketch, size, n_columns).sample(rng).to_dense()
    omega = omega.astype(rows.dtype)
    matrix = CenteredMatrix(rows, center=False).in_safe_unit()
    # Algorithm 4.4 from the right: (A^T A)^q Omega, orthonormal in between, so that A is
    # read by rows, once in each iteration.
    for _ in range(n_power_iterations):
        omega = orthonormal_rows(matrix.gram_product(orthonormal_rows(omega)).Z)
        omega = complete_rows(omega, size, rng)
    # Variance one: a probe's image has the squared Frobenius norm for expectation.
    probes = Gaussian(n_probes, n_columns).sample(rng).to_dense() * np.sqrt(n_probes)
    test = np.concatenate([omega, probes.astype(rows.dtype)])
    Y = _image(matrix, test)
    if not is_in_range(passes.squared_norm(Y), rows.dtype):
        # A few rows did not tell the unit of the others.
        matrix.find_moments()
        Y = _image(matrix, test)
    passes.check_finite(passes.squared_norm(Y), rows.dtype)
    Qt = orthonormal_rows(Y[:, :size].T)
    images = Y[:, size:]
    # What Q misses of the images of vectors that it was not made from.
    rest = (images - Qt.T @ (Qt @ images)).astype(np.float64)
    squares = np.einsum("ij,ij->j", rest, rest)
    # Of a Gaussian w, the mean of ||(A - Q Q^T A) w||^2 is the squared Frobenius norm, and
    # the largest of n_probes lengths bounds the spectral norm (their equation 4.3).
    frobenius = float(np.sqrt(squares.mean()))
    bound = float(10 * np.sqrt(2 / np.pi) * np.sqrt(squares.max()))
    unit = matrix.unit
    return Range(Qt.T, frobenius_error=frobenius * unit, spectral_bound=bound * unit)


def _image(A, V):
    """Return ``A V^T``."""
    with np.errstate(over="ignore", invalid="ignore"):
        return np.asarray(
            A.rows.map(passes.project, np.ascontiguousarray(V.T), 0, n_columns=len(V))
        )


@validated(n_jobs=[Integral, None])
def projection_error(
    A: MatrixLike | Blocks, V: ArrayLike, *, n_jobs: Int | None = None
) -> ProjectionError:
    """Return the error of projecting the rows of A on those of V.

    Parameters
    ----------
    A : array-like, sparse matrix, memmap, row-sliceable, dask array or iterator
        Of shape (n_rows, n_columns).
    V : array-like of shape (k, n_columns)
        Orthonormal rows, such as ``components_``.
    n_jobs : int, default=None
        Number of threads over row blocks.

    Returns
    -------
    ProjectionError
        ``(frobenius, relative)``. They come from a difference of squares, so relative
        errors below ``sqrt(eps)`` are rounding.

    Raises
    ------
    ValueError
        When V does not have as many columns as A, or either has NaN or infinity.

    Notes
    -----
    One pass.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_rnla.linalg import projection_error
    >>> projection_error(np.diag([4.0, 3.0]), np.array([[1.0, 0.0]]))
    ProjectionError(frobenius=3.0, relative=0.6)
    """
    rows = check_matrix(A, n_jobs=n_jobs)
    refuse_not_in_memory(V, "V")
    V = check_array(V, dtype=[np.float64, np.float32], input_name="V")
    if V.shape[1] != rows.shape[1]:
        raise ValueError(
            f"V of shape {V.shape} must have the {rows.shape[1]} columns of A."
        )
    matrix = CenteredMatrix(rows, center=False).in_safe_unit()
    matrix.near(Moments(1.0, np.zeros(rows.shape[1]), 0.0))
    H = matrix.gram_product(V).H
    total = matrix.moments.squared_norm
    rest = math.sqrt(max(0.0, total - float(np.trace(H))))
    relative = rest / math.sqrt(total) if total > 0 else 0.0
    return ProjectionError(frobenius=rest * matrix.unit, relative=relative)
