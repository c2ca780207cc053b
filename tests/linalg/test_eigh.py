"""Leading eigenpairs of a symmetric matrix: units, and the word that it converged."""

import warnings

import numpy as np
import pytest
import scipy.sparse as sp
from numpy.testing import assert_allclose
from scipy.sparse.linalg import aslinearoperator
from sklearn.exceptions import ConvergenceWarning

from sklearn_rnla.linalg import randomized_eigh
from tests.invariants import assert_orthonormal_rows


@pytest.mark.parametrize("make", [lambda L: L, lambda L: L.toarray(), aslinearoperator])
def test_too_few_products_are_told_where_they_were_asked_for(make):
    n = 1000
    L = sp.diags([-1.0, 2.0, -1.0], [-1, 0, 1], shape=(n, n), format="csr")
    with pytest.warns(ConvergenceWarning, match=r"tol=0.0001.*max_products") as caught:
        found = randomized_eigh(make(L), 5, random_state=0)
    assert caught[0].filename == __file__
    assert not found.converged
    assert found.residual_norms.max() > 1e-4 * found.eigenvalues[0]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_tolerance_of_zero_is_met_by_rounding(dtype):
    A = np.diag(0.5 ** np.arange(300)).astype(dtype)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert randomized_eigh(A, 3, tol=0, random_state=0).converged


@pytest.mark.parametrize("scale", [1e-300, 1e-170, 1e-30, 1e150, 1e300])
@pytest.mark.parametrize("make", [np.asarray, sp.csr_array, aslinearoperator])
def test_eigenpairs_of_any_unit(scale, make):
    G = np.random.default_rng(0).standard_normal((400, 400))
    G = G @ G.T / 400
    expected = np.linalg.eigvalsh(G)[:-6:-1]
    found = randomized_eigh(make(G * scale), 5, random_state=0)
    assert found.converged
    assert_allclose(found.eigenvalues / scale, expected, rtol=1e-6)
    residuals = G @ found.eigenvectors - found.eigenvectors * (found.eigenvalues / scale)
    norms = np.linalg.norm(residuals, axis=0)
    assert_allclose(found.residual_norms / scale, norms, rtol=1e-3, atol=1e-12)


@pytest.mark.parametrize("which", ["magnitude", "algebraic"])
@pytest.mark.parametrize("make", [np.asarray, sp.csr_array, aslinearoperator])
def test_eigenvalues_are_within_the_residuals(which, make, seed):
    rng = np.random.default_rng(seed)
    Q = np.linalg.qr(rng.standard_normal((120, 120)))[0]
    values = np.concatenate([[10, -9, 7, 5, -4], 0.5 * rng.standard_normal(115)])
    A = (Q * values) @ Q.T
    A = (A + A.T) / 2
    expected = np.sort(values)[::-1] if which == "algebraic" else values
    result = randomized_eigh(make(A), 3, which=which, random_state=seed)
    X = result.eigenvectors
    assert_orthonormal_rows(X.T)
    np.testing.assert_allclose(
        np.linalg.norm(A @ X - X * result.eigenvalues, axis=0),
        result.residual_norms,
        atol=1e-10,
    )
    assert result.residual_norms.max() <= 1e-4 * np.abs(result.eigenvalues).max()
    np.testing.assert_allclose(result.eigenvalues, expected[:3], atol=1e-3)


NAN = np.full((4, 4), np.nan)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: randomized_eigh(np.ones((2, 3)), 1), "must be square"),
        (lambda: randomized_eigh(np.triu(np.ones((3, 3))), 1), "must be symmetric"),
        (lambda: randomized_eigh(NAN, 1), "NaN"),
        (lambda: randomized_eigh(aslinearoperator(NAN), 1), "NaN or infinity"),
    ],
)
def test_errors_come_before_any_work(call, message):
    with pytest.raises(ValueError, match=message):
        call()
