"""Drivers: trace, diagonal and log-determinant of a matrix known by its products."""

from numbers import Integral, Real
from typing import Literal, NamedTuple

import numpy as np
import scipy.linalg
import scipy.sparse as sp
from scipy.special import stdtrit

from .._random import generator
from .._refusals import refuse_complex
from .._sklearn import Interval, StrOptions, validated
from .._typing import Float, Int, OperatorLike, Seed
from ..operators.psd_matrix import check_psd
from ..operators.scaling import scale_of
from .dense.triangular import inverse_cholesky

# Share of cases in which an error estimate is to cover the error.
_CONFIDENCE = 0.95

# Groups of test vectors, each left out once: as many as tell a variance within a third.
_GROUPS = 20

_N_PRODUCTS = [Interval(Integral, 4, None, closed="left")]


class Trace(NamedTuple):
    """Trace of a matrix.

    Attributes
    ----------
    value : float
    error_estimate : float
        Absolute; the error is below it with a probability of about 95 %. It is 0 where the
        trace is exact.
    n_products : int
        Products of A with a vector.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_rnla.linalg import trace
    >>> found = trace(np.diag([1.0, 2.0, 3.0]), 4, random_state=0)
    >>> round(found.value, 6), found.error_estimate
    (6.0, 0.0)
    """

    value: float
    error_estimate: float
    n_products: int


class Diagonal(NamedTuple):
    """Diagonal of a matrix.

    Attributes
    ----------
    values : ndarray of shape (n,)
    errors : ndarray of shape (n,)
        Absolute; the error of an entry is below its own with a probability of about 95 %.
    error_estimate : float
        Euclidean norm of the error of all entries, estimated.
    n_products : int
        Products of A and of its transpose with a vector.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_rnla.linalg import diagonal
    >>> found = diagonal(np.diag([1.0, 2.0, 3.0]), 20, random_state=0)
    >>> found.values.round(6)
    array([1., 2., 3.])
    """

    values: np.ndarray
    errors: np.ndarray
    error_estimate: float
    n_products: int


class LogDeterminant(NamedTuple):
    """Logarithm of the determinant of a positive definite matrix.

    Attributes
    ----------
    value : float
    error_estimate : float
        Half the width of an interval about the value that covers the truth with a
        probability of about 95 %.
    n_products : int
        Products of A with a vector.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_rnla.linalg import log_det
    >>> found = log_det(np.diag([1.0, 2.0, 3.0]), 20, random_state=0)
    >>> bool(abs(found.value - np.log(6.0)) <= found.error_estimate + 1e-9)
    True
    """

    value: float
    error_estimate: float
    n_products: int


@validated(n_products=_N_PRODUCTS, assume_a=[StrOptions({"gen", "pos"})])
def trace(
    A: OperatorLike,
    n_products: Int = 100,
    *,
    assume_a: Literal["gen", "pos"] = "gen",
    random_state: Seed = None,
) -> Trace:
    """Estimate the trace of a matrix by a few of its products.

    Parameters
    ----------
    A : array-like, sparse matrix or LinearOperator of shape (n, n)
        Real; only products with it are used.
    n_products : int, default=100
        Products with a vector, at least 4. The trace is exact if it is n or more.
    assume_a : {"gen", "pos"}, default="gen"
        What the matrix is:

        - "gen": any square matrix; XTrace, with products in two batches.
        - "pos": symmetric positive semidefinite; XNysTrace, in one batch. Its error is
          much smaller where eigenvalues decay.
    random_state : int, RandomState instance, Generator or None, default=None
        Seed.

    Returns
    -------
    Trace
        ``(value, error_estimate, n_products)``.

    Raises
    ------
    ValueError
        When A is not square, when a product has NaN or infinity, or when A is to be
        positive semidefinite and is not.

    See Also
    --------
    diagonal : Its entries.
    log_det : Trace of the logarithm of a matrix.

    Notes
    -----
    Epperly, Tropp & Webber, "XTrace: making the most of every sample in stochastic trace
    estimation" (2024), sections 2.1 and 2.3, with test vectors on a sphere and the
    normalisation of section 2.4. Each vector corrects the low-rank approximation by the
    others, so that estimates are unbiased. Where the first batch shows that the spectrum
    is flat, all vectors of "gen" go to Hutchinson's estimate, which has the smaller
    variance then. The error is that of a jackknife over groups of vectors, which is no less
    than the standard deviation on average (Efron & Stein 1981). A product with a dense
    matrix costs ``2 n^2`` flops, the rest ``O(n n_products^2)``.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_rnla.linalg import trace
    >>> A = np.diag(0.5 ** np.arange(500.0))
    >>> found = trace(A, 60, assume_a="pos", random_state=0)
    >>> abs(found.value - 2) < 1e-8
    True
    """
    A = _Products(A)
    n, m = A.n, int(n_products)
    if m >= n:
        value = np.trace(A @ np.eye(n)) * A.unit
        return Trace(float(value), error_estimate=0.0, n_products=n)
    rng = generator(random_state)
    if assume_a == "pos":
        estimate = _xnystrace(A, m, rng)
    else:
        m = m // 2
        estimate = _xtrace(A, m, rng)
    value = estimate(np.arange(m)) * A.unit
    error = _jackknife(estimate, m) * A.unit
    return Trace(float(value), float(error), A.n_products)


def _xtrace(A, m, rng):
    """Return a function that estimates the trace by some of `m` test vectors."""
    n, W = A.n, _on_sphere(rng, A.n, m)
    Y = A @ W
    Q, R = np.linalg.qr(Y)
    P = Q.T @ W
    energies = _column_dots(W, Y)
    # All but a multiple of the identity, of which every test vector tells the trace.
    rest = R - P * energies.mean() / n
    total = _column_dots(Y, Y) - energies**2 / n
    S = _left_out(R)
    seen = _column_dots(rest, rest) - _column_dots(S, rest) ** 2
    if 2 * np.sum(total - seen) > np.sum(total):
        # More vectors bring more than the range of their products, where spectra are flat.
        W = _on_sphere(rng, n, m)
        energies = np.stack([energies, _column_dots(W, A @ W)])
        return lambda kept: energies[:, kept].mean()
    image = A @ Q
    H, T = Q.T @ image, image.T @ W
    return lambda kept: _xtrace_of(n, R[:, kept], H, T[:, kept], P[:, kept])


def _xtrace_of(n, R, H, T, P):
    """Estimate the trace, given A W = Q R, H = Q^T A Q, T = Q^T A^T W and P = Q^T W."""
    m = R.shape[1]
    B, R = np.linalg.qr(R)
    H, T, P = B.T @ H @ B, B.T @ T, B.T @ P
    # Q_i Q_i^T = Q (I - s_i s_i^T) Q^T: the basis without vector i, by a rank-one change.
    S = _left_out(R)
    # Of each vector, its part in the range of the products with the others.
    U = P - S * _column_dots(S, P)
    # (w - Q u)^T A (w - Q u), of length one in what is left of the space.
    rest = _column_dots(P, R) - _column_dots(U, R) - _column_dots(T, U)
    rest += _column_dots(U, H @ U)
    rest *= (n - m + 1) / np.maximum(n - _column_dots(U, U), 1.0)
    return np.trace(H) + np.mean(rest - _column_dots(S, H @ S))


def _xnystrace(A, m, rng):
    """Return what `_xtrace` does, for a positive semidefinite matrix."""
    n, W = A.n, _on_sphere(rng, A.n, m)
    Y = A @ W
    if not Y.any():
        return lambda kept: 0.0
    # A shift keeps the core definite; it is taken off in the end.
    shift = np.finfo(A.dtype).eps * np.linalg.norm(Y)
    Y += shift * W
    R, core, gram = np.linalg.qr(Y, mode="r"), W.T @ Y, W.T @ W

    def estimate(kept):
        both = np.ix_(kept, kept)
        return _xnystrace_of(n, R[:, kept], core[both], gram[both]) - shift * n

    return estimate


def _xnystrace_of(n, R, core, gram):
    """Estimate the trace, given A W = Q R, W^T A W and W^T W."""
    m = len(core)
    try:
        inverse = inverse_cholesky((core + core.T) / 2)
    except np.linalg.LinAlgError:
        raise ValueError(
            "A is not positive semidefinite, or not symmetric: use assume_a='gen'."
        ) from None
    F = R @ inverse.T
    # Without a vector, the approximation F F^T loses a matrix of rank one.
    K, pivots = F @ inverse, 1 / _column_dots(inverse, inverse)
    lost = _column_dots(K, K) * pivots
    rest = pivots * (n - m + 1) * np.diag(np.linalg.inv(gram))
    return np.sum(F * F) + np.mean(rest - lost)


@validated(n_products=_N_PRODUCTS)
def diagonal(
    A: OperatorLike, n_products: Int = 100, *, random_state: Seed = None
) -> Diagonal:
    """Estimate the diagonal of a matrix by a few of its products.

    Parameters
    ----------
    A : array-like, sparse matrix or LinearOperator of shape (n, n)
        Real. Products with it and with its transpose are used: an operator needs
        ``rmatvec`` or ``rmatmat``.
    n_products : int, default=100
        Products with a vector, at least 4. The diagonal is exact if it is n or more.
    random_state : int, RandomState instance, Generator or None, default=None
        Seed.

    Returns
    -------
    Diagonal
        ``(values, errors, error_estimate, n_products)``.

    Raises
    ------
    ValueError
        When A is not square, or when a product has NaN or infinity.

    See Also
    --------
    trace : Sum of the diagonal, of a smaller error.

    Notes
    -----
    XDiag of Epperly, Tropp & Webber (2024), section 2.5, with random signs. Where the first
    half of the products shows that the range of the products does not help, the other half
    goes to the estimate of Bekas, Kokiopoulou & Saad (2007).

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_rnla.linalg import diagonal
    >>> u = np.linspace(1, 2, 500)
    >>> found = diagonal(np.outer(u, u), 10, random_state=0)
    >>> np.allclose(found.values, u * u)
    True
    """
    A = _Products(A)
    n, m = A.n, int(n_products) // 2
    if n_products >= n:
        values = np.diag(A @ np.eye(n)) * A.unit
        return Diagonal(values, np.zeros(n), error_estimate=0.0, n_products=n)
    rng = generator(random_state)
    estimate, m = _xdiag(A, m, rng)
    values, errors = estimate(np.arange(m)), _jackknife(estimate, m)
    error = float(np.linalg.norm(errors) / _quantile(min(m, _GROUPS)))
    return Diagonal(
        values * A.unit, errors * A.unit, error * A.unit, n_products=A.n_products
    )


def _xdiag(A, m, rng):
    """Return a function that estimates the diagonal by some test vectors, and how many."""
    W = rng.choice([-1.0, 1.0], size=(A.n, m))
    Y = A @ W
    Q, R = np.linalg.qr(Y)
    S = _left_out(R)
    # What each test vector says of all, and of the part that the others do not see.
    signed, rest = W * Y, W * (Q @ S) * _column_dots(S, R)
    if 2 * rest.var(axis=1).sum() > signed.var(axis=1).sum():
        # As in `_xtrace`.
        W = rng.choice([-1.0, 1.0], size=(A.n, m))
        signed = np.hstack([signed, W * (A @ W)])
        return lambda kept: signed[:, kept].mean(axis=1), 2 * m
    image = A.transposed(Q)

    def estimate(kept):
        B, left = np.linalg.qr(R[:, kept])
        S = _left_out(left)
        QB, IB = Q @ B, image @ B
        QS = QB @ S
        rest = W[:, kept] * QS * _column_dots(S, left) - QS * (IB @ S)
        return rest.mean(axis=1) + np.einsum("ij,ij->i", QB, IB)

    return estimate, m


@validated(n_products=_N_PRODUCTS, tol=[Interval(Real, 0, None, closed="neither")])
def log_det(
    A: OperatorLike, n_products: Int = 1000, *, tol: Float = 1e-3, random_state: Seed = None
) -> LogDeterminant:
    """Estimate the logarithm of the determinant of a positive definite matrix.

    Parameters
    ----------
    A : array-like, sparse matrix or LinearOperator of shape (n, n)
        Real, symmetric and positive definite.
    n_products : int, default=1000
        Most products with a vector, at least 4. The result is exact if it is n or more.
    tol : float, default=1e-3
        Each quadrature stops once a further step changes it by less than this share of
        the spread of the estimates. A smaller one leaves products for fewer vectors.
    random_state : int, RandomState instance, Generator or None, default=None
        Seed.

    Returns
    -------
    LogDeterminant
        ``(value, error_estimate, n_products)``.

    Raises
    ------
    ValueError
        When A is not square, when a product has NaN or infinity, or when A has an
        eigenvalue that is not positive.

    See Also
    --------
    trace : Of the matrix itself.

    Notes
    -----
    Stochastic Lanczos quadrature (Ubaru, Chen & Saad 2017): the trace of the logarithm is n
    times the mean of ``w^T log(A) w`` over unit vectors, each by Gauss quadrature. A
    quadrature needs about as many steps as the root of the condition number; eigenvalues
    near zero that it has not seen are not in the error estimate.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_rnla.linalg import log_det
    >>> spectrum = np.linspace(1, 3, 2000)
    >>> found = log_det(np.diag(spectrum), random_state=0)
    >>> error = found.value - np.log(spectrum).sum()
    >>> bool(abs(error) < found.error_estimate < 0.01 * found.value)
    True
    """
    A = _Products(A)
    n, limit = A.n, int(n_products)
    if limit >= n:
        sign, value = np.linalg.slogdet(A @ np.eye(n))
        if sign <= 0:
            raise ValueError("A is not positive definite: its determinant is not positive.")
        return LogDeterminant(float(value + n * np.log(A.unit)), 0.0, n_products=n)
    rng = generator(random_state)
    # A first batch tells how many steps a vector needs.
    estimates = np.zeros(0)
    width = max(2, min(8, limit // 2))
    while width >= 1:
        most = max(1, (limit - A.n_products) // width)
        found, steps = _log_quadrature(A, width, tol, most, rng)
        estimates = np.append(estimates, found)
        width = min((limit - A.n_products) // steps, 64)
    value, error = _mean_and_error(estimates)
    value += n * np.log(A.unit)
    return LogDeterminant(float(value), float(error), A.n_products)


def _log_quadrature(A, width, tol, max_steps, rng):
    """Return ``n w^T log(A) w`` of some random unit vectors w, and the steps it took.

    Three terms of Lanczos, without orthogonalisation: copies of Ritz values that rounding
    makes share the weight of one, and leave a quadrature as it is (Golub & Meurant 2010).
    """
    V = rng.standard_normal((A.n, width))
    V /= np.linalg.norm(V, axis=0)
    before, off = np.zeros_like(V), np.zeros(width)
    diagonals, off_diagonals = [], []
    estimates = None
    for _ in range(max_steps):
        Z = A @ V - before * off
        diagonals.append(_column_dots(V, Z))
        Z -= V * diagonals[-1]
        off = np.linalg.norm(Z, axis=0)
        last, estimates = estimates, A.n * _log_at_first(diagonals, off_diagonals)
        if last is not None:
            spread = np.std(estimates) / np.sqrt(width)
            rounding = 1e-10 * np.abs(estimates).max()
            if np.abs(estimates - last).max() <= max(tol * spread, rounding):
                break
        off_diagonals.append(off)
        before, V = V, Z / np.where(off > 0, off, 1.0)
    return estimates, len(diagonals)


def _log_at_first(diagonals, off_diagonals):
    """Return the first entry of the logarithm of tridiagonal matrices, one a column."""
    diagonals = np.transpose(diagonals)
    T = np.zeros((*diagonals.shape, diagonals.shape[1]))
    i = np.arange(diagonals.shape[1])
    T[:, i, i] = diagonals
    if len(off_diagonals):
        T[:, i[:-1], i[1:]] = T[:, i[1:], i[:-1]] = np.transpose(off_diagonals)
    values, vectors = np.linalg.eigh(T)
    weights = vectors[:, 0] ** 2
    seen = weights > np.finfo(np.float64).eps
    if np.any(values[seen] <= 0):
        raise ValueError(
            "A is not positive definite: it has eigenvalues of "
            f"{values[seen].min():.3g} or below, in units of its largest product."
        )
    return np.sum(weights * np.log(np.where(seen, values, 1.0)), axis=1)


class _Products:
    """Products with a square matrix in units in which squares are in range.

    Attributes
    ----------
    n : int
    unit : float
        What the products are divided by: a power of two, told by the first.
    n_products : int
        Products with a vector made.
    """

    def __init__(self, A):
        self.A = check_psd(A)
        self.n = self.A.shape[0]
        single = getattr(self.A, "dtype", None) == np.float32
        self.dtype = np.dtype(np.float32 if single else np.float64)
        self.unit, self.n_products = None, 0

    def __matmul__(self, X):
        return self._in_unit(self.A @ X)

    def transposed(self, X):
        """Return the product of the transpose with columns."""
        A = self.A
        return self._in_unit(A.rmatmat(X) if hasattr(A, "rmatmat") else A.T @ X)

    def _in_unit(self, product):
        product = product.toarray() if sp.issparse(product) else np.asarray(product)
        refuse_complex(product.dtype)
        self.n_products += product.shape[1]
        product = product.astype(np.float64)
        if not np.isfinite(product).all():
            raise ValueError("A product with A contains NaN or infinity.")
        if self.unit is None:
            self.unit = scale_of(product)
        return product / self.unit


def _on_sphere(rng, n, m):
    """Return random columns of length ``sqrt(n)``, all directions as likely."""
    W = rng.standard_normal((n, m))
    return W * (np.sqrt(n) / np.linalg.norm(W, axis=0))


def _left_out(R):
    """Return, for each column of a triangular R, the unit vector orthogonal to the others.

    These are the directions that the range of the products loses with a vector.
    """
    i = np.arange(len(R))
    least = np.finfo(np.float64).eps * (np.abs(R).max() or 1.0)
    R = R.copy()
    R[i, i] = np.where(np.abs(R[i, i]) < least, least, R[i, i])
    S = scipy.linalg.solve_triangular(R, np.eye(len(R)), trans="T")
    return S / np.linalg.norm(S, axis=0)


def _column_dots(X, Y):
    return np.einsum("ij,ij->j", X, Y)


def _quantile(m):
    """Return how many standard errors of a mean of m cover the truth."""
    return stdtrit(m - 1, (1 + _CONFIDENCE) / 2)


def _jackknife(estimate, m):
    """Return the error of an estimate by m test vectors, by leaving out groups of them."""
    groups = np.array_split(np.arange(m), min(m, _GROUPS))
    left = [estimate(np.setdiff1d(np.arange(m), group)) for group in groups]
    g = len(groups)
    return np.std(left, axis=0) * np.sqrt(g - 1) * _quantile(g)


def _mean_and_error(estimates):
    """Return the mean over the last axis, and its error."""
    m = estimates.shape[-1]
    error = estimates.std(axis=-1, ddof=1) / np.sqrt(m) * _quantile(m)
    return estimates.mean(axis=-1), error
