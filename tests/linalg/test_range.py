"""Range finder, and the error of a projection."""

import numpy as np
import pytest
import scipy.sparse as sp

from sklearn_rnla.linalg import projection_error, range_finder
from tests.invariants import assert_orthonormal_rows
from tests.matrices import gallery, with_spectrum


@pytest.mark.parametrize(("k", "p"), [(5, 5), (10, 5), (10, 10)])
def test_range_finder_meets_the_expected_errors_of_halko_et_al(k, p):
    # Theorems 10.5 and 10.6, tested on the mean over seeds: their bounds are on the mean,
    # which that of 30 draws exceeds by three standard errors with probability 1e-3 at most.
    A = next(A for name, A in gallery(200, 100) if name == "harmonic")
    s = np.linalg.svd(A, compute_uv=False)
    tail = np.sqrt(np.sum(s[k:] ** 2))
    frobenius, spectral = [], []
    for seed in range(30):
        Q = range_finder(A, k + p, random_state=seed).Q
        rest = A - Q @ (Q.T @ A)
        frobenius.append(np.linalg.norm(rest))
        spectral.append(np.linalg.norm(rest, 2))
    bound = np.sqrt(1 + k / (p - 1)) * tail
    assert np.mean(frobenius) <= bound
    bound = (1 + np.sqrt(k / (p - 1))) * s[k] + np.e * np.sqrt(k + p) / p * tail
    assert np.mean(spectral) <= bound


@pytest.mark.parametrize("sketch", ["gaussian", "sparse_sign", "srtt"])
def test_range_finder_knows_its_error(sketch):
    A = with_spectrum(0.9 ** np.arange(80.0), 300, 80)
    ratios = []
    for seed in range(20):
        Q, frobenius, bound = range_finder(
            A, 20, sketch=sketch, n_power_iterations=1, random_state=seed
        )
        assert_orthonormal_rows(Q.T)
        rest = A - Q @ (Q.T @ A)
        assert np.linalg.norm(rest, 2) <= bound
        ratios.append(frobenius**2 / np.linalg.norm(rest) ** 2)
    # Mean one, relative variance 2 / n_probes at most: five standard errors over 20 seeds.
    assert abs(np.mean(ratios) - 1) <= 5 * np.sqrt(2 / 10 / 20)


def test_projection_error_is_the_norm_of_the_rest(seed):
    A = np.random.default_rng(seed).standard_normal((100, 12))
    V = np.linalg.svd(A)[2][:4]
    expected = np.linalg.norm(A - A @ V.T @ V)
    for X in (A, sp.csr_array(A), iter([A[:3], A[3:]])):
        result = projection_error(X, V)
        assert result.frobenius == pytest.approx(expected)
        assert result.relative == pytest.approx(expected / np.linalg.norm(A))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: range_finder(np.eye(3), 4), "size=4 must be at most"),
        (lambda: range_finder(np.eye(3), 2, sketch="x"), "'sketch' parameter"),
        (lambda: projection_error(np.eye(3), np.eye(2)), "must have the 3 columns"),
    ],
)
def test_errors_come_before_any_work(call, message):
    with pytest.raises(ValueError, match=message):
        call()
