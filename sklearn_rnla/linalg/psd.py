"""Drivers on positive semidefinite matrices known by diagonal and columns."""

from numbers import Integral, Real
from typing import Literal, NamedTuple

import numpy as np

from .._random import generator
from .._refusals import refuse_complex
from .._sklearn import Interval, StrOptions, svd_flip, validated
from .._typing import Array, Float, Int, OperatorLike, Seed
from ..operators.psd_matrix import KernelMatrix, PSDMatrix, as_psd_matrix, check_psd
from ..operators.threads import check_jobs
from .dense.orth import complete_rows
from .dense.triangular import inverse_cholesky
from .nystroem.pivoted_cholesky import (
    NotPositiveSemidefiniteError,
    PivotedCholesky,
    RandomPivots,
    pivoted_cholesky,
)

_N_COMPONENTS = [Interval(Integral, 1, None, closed="left")]

# The trace of an operator without a diagonal is estimated with this many probes.
_TRACE_PROBES = 32


class NystroemEigh(NamedTuple):
    """Leading eigenpairs of a positive semidefinite matrix.

    Attributes
    ----------
    eigenvalues : ndarray of shape (k,)
        In decreasing order. Up to rounding, none exceeds the true eigenvalue of its rank.
    eigenvectors : ndarray of shape (n, k)
        Orthonormal columns.
    error_estimate : float
        Share of the trace of A that the eigenvalues do not hold.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_rnla.linalg import nystroem_eigh
    >>> eigh = nystroem_eigh(np.diag([4.0, 1.0, 0.0, 0.0]), 2, random_state=0)
    >>> eigh.eigenvalues.round(6)
    array([4., 1.])
    >>> eigh.error_estimate < 1e-6
    True
    """

    eigenvalues: np.ndarray
    eigenvectors: np.ndarray
    error_estimate: float


@validated(
    n_components=_N_COMPONENTS,
    tol=[Interval(Real, 0, 1, closed="left")],
    n_jobs=[Integral, None],
)
def rpcholesky(
    A: KernelMatrix | OperatorLike,
    n_components: Int,
    *,
    tol: Float = 0.0,
    n_jobs: Int | None = None,
    random_state: Seed = None,
) -> PivotedCholesky:
    """Factor a positive semidefinite matrix by randomly pivoted Cholesky.

    Parameters
    ----------
    A : KernelMatrix, array-like, sparse matrix or LinearOperator of shape (n, n)
        Only its diagonal and the columns of the pivots are read. An operator needs a
        method ``diagonal()``.
    n_components : int
        Maximum number of pivots.
    tol : float, default=0.0
        Relative trace error at which to stop.
    n_jobs : int, default=None
        Number of threads over tiles.
    random_state : int, RandomState instance, Generator or None, default=None
        Seed of the random numbers. Pass an int for reproducible results.

    Returns
    -------
    PivotedCholesky
        ``(factor, pivots, residual_diagonal, relative_error)``. There are fewer pivots if
        `tol` or the numerical rank is reached before.

    Raises
    ------
    TypeError
        When A gives no diagonal and columns.
    ValueError
        When A is not square, or its diagonal not finite.

    Notes
    -----
    Chen, Epperly, Tropp & Webber (2022), in blocks with rejection (Epperly, Tropp &
    Webber 2024, algorithm 2.1): ``n k`` entries of A and ``n k^2`` flops. For a rank r
    the expected trace error is at most ``1 + eps`` times the best of rank r once k
    exceeds ``r / eps + r log(1 / (eps eta))``, eta the best relative error (theorem 2.3).

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_rnla.linalg import rpcholesky
    >>> A = np.diag([4.0, 2.0, 0.0])
    >>> factor, pivots, residual, error = rpcholesky(A, 3, random_state=0)
    >>> sorted(pivots.tolist()), error
    ([0, 1], 0.0)
    """
    rng = generator(random_state)
    return pivoted_cholesky(
        as_psd_matrix(A, n_jobs=n_jobs),
        int(n_components),
        lambda: RandomPivots(rng),
        tol=tol,
    )


@validated(
    n_components=_N_COMPONENTS,
    method=[StrOptions({"auto", "columns", "gaussian"})],
    n_oversamples=[Interval(Integral, 0, None, closed="left"), None],
    n_jobs=[Integral, None],
)
def nystroem_eigh(
    A: KernelMatrix | OperatorLike,
    n_components: Int,
    *,
    method: Literal["auto", "columns", "gaussian"] = "auto",
    n_oversamples: Int | None = None,
    n_jobs: Int | None = None,
    random_state: Seed = None,
) -> NystroemEigh:
    """Compute leading eigenpairs of a positive semidefinite matrix in a single pass.

    Parameters
    ----------
    A : KernelMatrix, array-like, sparse matrix or LinearOperator of shape (n, n)
        The matrix.
    n_components : int
        Number k of eigenpairs, at most n.
    method : {"auto", "columns", "gaussian"}, default="auto"
        - "gaussian": from the product with a Gaussian matrix [1]_, which reads all of A;
        - "columns": from columns chosen by randomly pivoted Cholesky, which reads only
          the diagonal and these columns;
        - "auto": "columns" for a `KernelMatrix`, "gaussian" otherwise.

    n_oversamples : int, default=None
        Number of columns of the sketch beyond k. None means ``k + 10``.
    n_jobs : int, default=None
        Number of threads over tiles.
    random_state : int, RandomState instance, Generator or None, default=None
        Seed of the random numbers. Pass an int for reproducible results.

    Returns
    -------
    NystroemEigh
        ``(eigenvalues, eigenvectors, error_estimate)``.

    Raises
    ------
    TypeError
        When A lacks what the method needs.
    ValueError
        When `n_components` exceeds n, or A is not square or not positive semidefinite on
        the sketch.

    Notes
    -----
    "gaussian" is algorithm 3 of [1]_, with the shift that keeps the Cholesky factor from
    breaking down: one product of A with ``l = k + n_oversamples`` columns, and
    ``O(n l^2)`` flops.

    References
    ----------
    .. [1] Tropp, J. A., Yurtsever, A., Udell, M., & Cevher, V. (2017). Fixed-rank
       approximation of a positive-semidefinite matrix from streaming data. NIPS 30.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_rnla.linalg import nystroem_eigh
    >>> result = nystroem_eigh(np.diag([9.0, 4.0, 1.0]), 2, random_state=0)
    >>> result.eigenvalues
    array([9., 4.])
    """
    A = check_psd(A)
    check_jobs(n_jobs)
    n, k = A.shape[0], int(n_components)
    if k > n:
        raise ValueError(f"n_components={k} must be at most n={n}.")
    width = min(n, k + (k + 10 if n_oversamples is None else int(n_oversamples)))
    rng = generator(random_state)
    if method == "auto":
        method = "columns" if isinstance(A, PSDMatrix) else "gaussian"
    if method == "columns":
        psd = as_psd_matrix(A, n_jobs=n_jobs)
        F = pivoted_cholesky(psd, width, lambda: RandomPivots(rng)).factor
        trace, shift = float(psd.diagonal().sum()), 0.0
    else:
        product = _product(A)
        F, shift = _gaussian_factor(product, n, width, A.dtype, rng)
        trace = _trace(A, product, rng)
    U, s, _ = np.linalg.svd(F, full_matrices=False)
    values = np.maximum(s[:k].astype(np.float64) ** 2 - shift, 0.0)
    U = svd_flip(U[:, :k], None)[0]
    error = 1 - float(values.sum()) / trace if trace > 0 else 0.0
    # Beyond the rank of the factor, values are zero and vectors any orthonormal ones.
    U = complete_rows(np.ascontiguousarray(U[:, : len(values)].T), k, rng).T
    values = np.concatenate([values, np.zeros(k - len(values))]).astype(U.dtype)
    return NystroemEigh(values, U, max(0.0, error))


def _product(A):
    for name in ("matmat", "__matmul__"):
        if hasattr(A, name):
            return getattr(A, name)
    raise TypeError(f"A of type {type(A).__name__} has no products: matmat or @.")


def _gaussian_factor(product, n, width, dtype, rng):
    """Return F with ``F F^T`` the Nystroem approximation of A plus a shift, and that."""
    dtype = np.float32 if dtype == np.float32 else np.float64
    Omega = np.linalg.qr(rng.standard_normal((n, width)))[0].astype(dtype)
    with np.errstate(invalid="ignore", over="ignore"):
        Y = np.asarray(product(Omega))
    refuse_complex(Y.dtype)
    if not np.isfinite(Y).all():
        raise ValueError("A product with A contains NaN or infinity.")
    # In units of the largest, whose square may be out of range.
    largest = float(np.abs(Y).max(initial=0.0))
    if largest == 0:
        return Y, 0.0
    shift = np.sqrt(n) * np.finfo(dtype).eps * largest * float(np.linalg.norm(Y / largest))
    # Algorithm 3 of the paper: Y + nu Omega, the Cholesky factor of its core, a triangular
    # solve. The SVD of what comes out, and nu off its squares, are the caller's.
    Y = Y + shift * Omega
    B = (Omega.T @ Y).astype(np.float64)
    try:
        inverse = inverse_cholesky((B + B.T) / 2)
    except np.linalg.LinAlgError as error:
        raise NotPositiveSemidefiniteError(
            "A is not positive semidefinite: its sketch has a negative eigenvalue. "
            "randomized_eigh takes symmetric matrices of any sign."
        ) from error
    F = Y.astype(np.float64) @ inverse.T
    return F.astype(dtype), float(shift)


def _trace(A, product, rng):
    if hasattr(A, "diagonal"):
        return float(np.asarray(A.diagonal()).sum(dtype=np.float64))
    probes = rng.choice([-1.0, 1.0], size=(A.shape[0], _TRACE_PROBES))
    return float(np.einsum("ij,ij->", probes, product(probes))) / _TRACE_PROBES


@validated(
    alpha=[Interval(Real, 0, None, closed="neither")],
    n_components=[*_N_COMPONENTS, None],
    n_jobs=[Integral, None],
)
def ridge_leverage_scores(
    A: KernelMatrix | OperatorLike,
    alpha: Float,
    *,
    n_components: Int | None = None,
    n_jobs: Int | None = None,
    random_state: Seed = None,
) -> Array:
    """Compute ridge leverage scores, the diagonal of ``A (A + alpha I)^-1``.

    Parameters
    ----------
    A : KernelMatrix, array-like, sparse matrix or LinearOperator of shape (n, n)
        Positive semidefinite.
    alpha : float
        The ridge.
    n_components : int, default=None
        Maximum number of pivots of the factorisation that the scores are computed from.
        None means as many as the numerical rank; the scores are then exact, at ``n
        rank^2`` flops.
    n_jobs : int, default=None
        Number of threads over tiles.
    random_state : int, RandomState instance, Generator or None, default=None
        Seed of the random numbers. Pass an int for reproducible results.

    Returns
    -------
    ndarray of shape (n,)
        Between 0 and 1. They sum to the effective dimension.

    Raises
    ------
    TypeError
        When A gives no diagonal and columns.
    ValueError
        When A is not square, or its diagonal not finite.

    Notes
    -----
    Alaoui & Mahoney (2015). With a partial factor F whose residual has the diagonal d, the
    scores are those of ``F F^T`` plus ``d / (d + alpha)``, as if the residual were
    diagonal.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_rnla.linalg import ridge_leverage_scores
    >>> ridge_leverage_scores(np.diag([3.0, 1.0]), 1.0, random_state=0)
    array([0.75, 0.5 ])
    """
    rng = generator(random_state)
    psd = as_psd_matrix(A, n_jobs=n_jobs)
    k = psd.shape[0] if n_components is None else int(n_components)
    cholesky = pivoted_cholesky(psd, k, lambda: RandomPivots(rng))
    F, d = cholesky.factor.astype(np.float64, copy=False), cholesky.residual_diagonal
    inner = F.T @ F
    inner.flat[:: len(inner) + 1] += alpha
    half = inverse_cholesky(inner) @ F.T
    scores = np.einsum("ij,ij->j", half, half) + d / (d + alpha)
    return np.minimum(scores, 1.0)
