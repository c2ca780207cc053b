"""Singular vectors that the squares of the first ones hide."""

import warnings

import numpy as np
import pytest
import scipy.sparse as sp

from sklearn_rnla import RandomizedPCA
from tests.invariants import excess

ALGORITHMS = ["auto", "krylov", "subspace", "gram"]


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_component_of_rounding_has_the_right_variance(algorithm, seed):
    rng = np.random.default_rng(0)
    spectra = np.abs(rng.standard_normal((3, 1500))) * 1e4
    X = (rng.dirichlet(np.ones(3), 303) @ spectra).astype(np.float32).astype(np.float64)
    s = np.linalg.svd(X - X.mean(axis=0), compute_uv=False)
    pca = RandomizedPCA(3, algorithm=algorithm, random_state=seed).fit(X)
    np.testing.assert_allclose(pca.singular_values_, s[:3], rtol=0.025)


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize("noise", [0.1, 3.0, 100.0])
@pytest.mark.parametrize("k", [9, 12])
def test_single_precision_spectra_of_mixtures(algorithm, noise, k):
    rng = np.random.default_rng(1)
    x, centers, widths = np.linspace(0, 1, 600), rng.random((10, 1)), rng.random((10, 1))
    spectra = 1e4 * np.exp(-(((x - centers) / (0.01 + 0.05 * widths)) ** 2))
    X = rng.dirichlet(np.ones(10), 400) @ spectra + noise * rng.standard_normal((400, 600))
    X = X.astype(np.float32)
    with warnings.catch_warnings():
        # Subspace iteration may not see that it has converged.
        warnings.simplefilter("ignore" if algorithm == "subspace" else "error")
        pca = RandomizedPCA(k, algorithm=algorithm, random_state=0).fit(X)
    found = excess(X.astype(np.float64), pca.components_.astype(np.float64), k, True)
    assert found <= 1e-3
    assert found <= max(1.5 * pca.error_estimate_, 1e-6)


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize("factor", [1e5, 1e7, 1e9, 1e11])
@pytest.mark.parametrize("make", [np.asarray, sp.csr_array])
def test_a_huge_row_hides_no_error(algorithm, factor, make, seed):
    rng = np.random.default_rng(seed)
    A = rng.standard_normal((1000, 150)) / np.arange(1, 151)
    A[7] *= factor
    pca = RandomizedPCA(8, algorithm=algorithm, with_mean=False, random_state=seed)
    pca.fit(make(A))
    # Outside of the huge row, where squares in double precision lose nothing.
    V = np.linalg.qr(pca.components_.T)[0]
    direction = A[7] / np.linalg.norm(A[7])
    rest = np.delete(A, 7, axis=0)
    rest -= np.outer(rest @ direction, direction)
    best = np.sum(np.linalg.svd(rest, compute_uv=False)[7:] ** 2)
    found = np.sqrt(np.sum((rest - (rest @ V) @ V.T) ** 2) / best) - 1
    assert found <= max(1e-3, pca.error_estimate_)


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize("size", [1e5, 1e7])
def test_an_error_that_differences_of_values_lose_is_stated(algorithm, size):
    X = np.random.default_rng(0).standard_normal((2000, 300)) / 62
    X[5], X[:, 8] = 0, 0
    X[5, 8] = size
    pca = RandomizedPCA(1, algorithm=algorithm, random_state=0).fit(X)
    assert excess(X, pca.components_, 1, True) <= max(pca.error_estimate_, 1e-10)


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_no_error_is_stated_below_rounding(algorithm):
    X = np.random.default_rng(0).standard_normal((400, 3)) @ np.ones((3, 50))
    for dtype in (np.float32, np.float64):
        pca = RandomizedPCA(2, algorithm=algorithm, random_state=0).fit(X.astype(dtype))
        assert pca.error_estimate_ >= np.finfo(dtype).eps


def test_a_tolerance_of_zero_is_met_by_rounding():
    X = np.random.default_rng(0).standard_normal((500, 40)) * 0.5 ** np.arange(40)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        RandomizedPCA(3, algorithm="krylov", tol=0, random_state=0).fit(X)


@pytest.mark.parametrize("algorithm", ["auto", "krylov", "subspace"])
@pytest.mark.parametrize("make", [np.asarray, sp.csr_array])
@pytest.mark.parametrize("max_passes", [1, 3, 20])
def test_passes_beyond_the_limit_are_never_silent(algorithm, make, max_passes):
    rng = np.random.default_rng(0)
    noise = rng.standard_normal((300, 900))
    huge = noise.T.astype(np.float32)
    huge[7] *= 1e9
    spectra = rng.dirichlet(np.ones(3), 300) @ np.abs(noise[:3])
    rounded = spectra.astype(np.float32).astype(np.float64)
    for X in (noise, huge, spectra, rounded, 0.5 ** np.arange(900) * noise, 0 * noise):
        pca = RandomizedPCA(12, algorithm=algorithm, max_passes=max_passes, random_state=0)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            pca.fit(make(X))
        assert pca.n_passes_ <= max_passes or "max_passes" in str(caught[0].message)
        assert not caught or max_passes < 20 or not np.isfinite(pca.error_estimate_)
