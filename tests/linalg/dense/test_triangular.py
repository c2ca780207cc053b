import numpy as np
import pytest

from sklearn_rnla.linalg.dense.triangular import _LEAF, inverse_cholesky, triangular_inverse
from tests.matrices import with_spectrum

SIZES = [1, 2, _LEAF - 1, _LEAF, _LEAF + 1, 2 * _LEAF, 2 * _LEAF + 1, 5 * _LEAF // 2]


@pytest.mark.parametrize("n", SIZES)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_inverse_is_triangular_and_inverts(n, dtype):
    rng = np.random.default_rng(n)
    L = np.tril(rng.standard_normal((n, n)), -1) / np.sqrt(n) + np.diag(1 + rng.random(n))
    L = L.astype(dtype)
    inverse = triangular_inverse(L)
    assert inverse.dtype == dtype
    np.testing.assert_array_equal(inverse, np.tril(inverse))
    error = np.abs(inverse.astype(float) @ L - np.eye(n)).max()
    assert error <= n * np.finfo(dtype).eps * np.linalg.norm(inverse) * np.linalg.norm(L)


@pytest.mark.parametrize("n", SIZES)
@pytest.mark.parametrize("condition", [1, 1e6, 1e12])
def test_the_inverse_of_the_cholesky_factor_whitens(n, condition):
    root = with_spectrum(np.geomspace(1, condition**-0.5, n), n, n)
    A = root.T @ root
    inverse = inverse_cholesky(A)
    np.testing.assert_array_equal(inverse, np.tril(inverse))
    error = np.abs(inverse @ A @ inverse.T - np.eye(n)).max()
    assert error <= n * np.finfo(float).eps * condition


@pytest.mark.parametrize("n", [2, _LEAF + 1])
@pytest.mark.parametrize("smallest", [0.0, -1e-3, -1.0])
def test_a_matrix_that_is_not_positive_definite_is_refused(n, smallest):
    A = np.diag(np.append(np.ones(n - 1), smallest))
    with pytest.raises(np.linalg.LinAlgError):
        inverse_cholesky(A)
