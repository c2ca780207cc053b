"""Driver: leading eigenpairs of a symmetric matrix."""

from functools import partial
from numbers import Integral, Real
from typing import Literal, NamedTuple

import numpy as np
import scipy.sparse as sp
from scipy.sparse.linalg import LinearOperator
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils.validation import check_array

from .._fitting import warn_user
from .._random import generator
from .._refusals import refuse_complex
from .._sklearn import Interval, StrOptions, svd_flip, validated
from .._typing import Float, Int, OperatorLike, Seed
from .._validation import check_rank
from ..operators.psd_matrix import check_psd
from .dense.orth import complete_rows, orthonormal_rows, product64
from .dense.ritz import RitzBasis, krylov_steps
from .singular.truncated_svd import block_width

# Residual norms within this many eps of the largest eigenvalue are rounding.
_ROUNDING = 32


class Eigh(NamedTuple):
    """Leading eigenpairs ``A X ~ X diag(eigenvalues)``.

    Attributes
    ----------
    eigenvalues : ndarray of shape (k,)
        In decreasing order, of value or of magnitude.
    eigenvectors : ndarray of shape (n, k)
        Orthonormal columns.
    residual_norms : ndarray of shape (k,)
        ``||A x - theta x||`` of each: an eigenvalue of A is at most that far away.
    n_products : int
        Number of products of A with a block of vectors.
    converged : bool
        Whether the residual norms are within the tolerance.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_rnla.linalg import randomized_eigh
    >>> eigh = randomized_eigh(np.diag([1.0, -5.0, 3.0]), 2, random_state=0)
    >>> eigh.eigenvalues.round(6)
    array([-5.,  3.])
    >>> eigh.converged
    True
    """

    eigenvalues: np.ndarray
    eigenvectors: np.ndarray
    residual_norms: np.ndarray
    n_products: int
    converged: bool


@validated(
    n_components=[Interval(Integral, 1, None, closed="left")],
    which=[StrOptions({"magnitude", "algebraic"})],
    tol=[Interval(Real, 0, None, closed="left")],
    max_products=[Interval(Integral, 1, None, closed="left")],
    n_oversamples=[Interval(Integral, 0, None, closed="left"), None],
)
def randomized_eigh(
    A: OperatorLike,
    n_components: Int,
    *,
    which: Literal["magnitude", "algebraic"] = "magnitude",
    tol: Float = 1e-4,
    max_products: Int = 50,
    n_oversamples: Int | None = None,
    random_state: Seed = None,
) -> Eigh:
    """Compute leading eigenpairs of a symmetric matrix by block Krylov iteration.

    Parameters
    ----------
    A : array-like, sparse matrix or LinearOperator of shape (n, n)
        Real and symmetric; it may have negative eigenvalues.
    n_components : int
        Number of eigenpairs, at most n.
    which : {"magnitude", "algebraic"}, default="magnitude"
        Which are leading: the largest in absolute value, or the largest.
    tol : float, default=1e-4
        Stop once the residual norms are at most this fraction of the largest eigenvalue.
        Eigenvalues are much more accurate: their error is of the order of the square of
        the residual over the gap.
    max_products : int, default=50
        Maximum number of products of A with a block of vectors.
    n_oversamples : int, default=None
        Number of vectors to iterate beyond those wanted. None means at least 8.
    random_state : int, RandomState instance, Generator or None, default=None
        Seed of the random numbers. Pass an int for reproducible results.

    Returns
    -------
    Eigh
        ``(eigenvalues, eigenvectors, residual_norms, n_products, converged)``.

    Raises
    ------
    ValueError
        When A is not square, not symmetric on random probes, has NaN or infinity, or when
        `n_components` exceeds n.

    Notes
    -----
    Halko, Martinsson & Tropp (2011), algorithm 5.3, on the block Krylov space (Musco &
    Musco 2015). A product costs ``2 n^2 l`` flops for a dense matrix.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_rnla.linalg import randomized_eigh
    >>> randomized_eigh(np.diag([1.0, -5.0, 3.0]), 2, random_state=0).eigenvalues
    array([-5.,  3.])
    """
    A = check_psd(A)
    if not isinstance(A, LinearOperator):
        A = check_array(
            A, accept_sparse=("csr", "csc"), dtype=[np.float64, np.float32], input_name="A"
        )
    k, n = int(n_components), A.shape[0]
    check_rank("n_components", k, A.shape)
    dtype = np.dtype(np.float32 if A.dtype == np.float32 else np.float64)
    rng = generator(random_state)
    width = block_width(k, n_oversamples, A.shape)
    start = orthonormal_rows(rng.standard_normal((width, n)).astype(dtype))
    _check_symmetric(A, start[:2])
    basis = RitzBasis(width, dtype, by_magnitude=which == "magnitude")
    # The Rayleigh-Ritz of each step is algorithm 5.3: the eigenpairs of B = V A V^T.
    steps = krylov_steps(basis, start, partial(_projected_product, A))
    for n_products, step in enumerate(steps, 1):
        values, V, _ = step.ritz
        # By Weyl's theorem, an eigenvalue of A is no further from each Ritz value.
        norms = _row_norms(step.residuals)
        largest, scale = norms[:k].max(), np.abs(values).max()
        # Residuals of rounding are as good as none.
        converged = bool(largest <= max(tol, _ROUNDING * np.finfo(dtype).eps) * scale)
        if converged or n_products == max_products:
            break
    if not converged:
        warn_user(
            f"After {n_products} products, the largest residual norm is "
            f"{largest / scale:.1e} of the largest eigenvalue, above tol={tol}. Increase "
            f"max_products (now {max_products}), n_oversamples, or tol.",
            ConvergenceWarning,
        )
    V = complete_rows(V, k, rng)
    V = svd_flip(None, V[:k].copy(), u_based_decision=False)[1]
    values, norms = values[:k].astype(dtype), norms[:k].astype(dtype)
    return Eigh(
        values, V.T, residual_norms=norms, n_products=n_products, converged=converged
    )


def _row_norms(R):
    """Return the norms of rows whose squares may be out of range, in float64."""
    largest = float(np.abs(R).max(initial=0.0))
    R = R.astype(np.float64) / (largest or 1.0)
    return largest * np.sqrt(np.einsum("ij,ij->i", R, R))


def _projected_product(A, V):
    """Return ``V A`` and ``V A V^T``."""
    image = _product(A, V)
    if not np.isfinite(image).all():
        raise ValueError("A product with A contains NaN or infinity.")
    return image, product64(V, image)


def _product(A, V):
    """Return ``V A``, A symmetric, as rows."""
    if isinstance(A, np.ndarray):
        return V @ A
    product = A @ V.T
    product = product.toarray() if sp.issparse(product) else product
    refuse_complex(product.dtype)
    return np.ascontiguousarray(product.T, dtype=V.dtype)


def _check_symmetric(A, V):
    # A LinearOperator may not know its transpose: its word is taken.
    if isinstance(A, LinearOperator):
        return
    image = A @ V.T
    difference = np.abs(image - A.T @ V.T).max()
    if difference > np.sqrt(np.finfo(V.dtype).eps) * np.abs(image).max():
        raise ValueError("A must be symmetric, but products with A and A.T differ.")
