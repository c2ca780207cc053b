"""Leading eigenpairs of a symmetric matrix: units, and the word that it converged."""

import warnings

import numpy as np
import pytest
import scipy.sparse as sp
from numpy.testing import assert_allclose
from scipy.sparse.linalg import aslinearoperator
from sklearn.exceptions import ConvergenceWarning

from sklearn_rnla.linalg import randomized_eigh


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
