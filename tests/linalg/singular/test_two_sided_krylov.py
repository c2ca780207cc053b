"""Iteration on both sides of a matrix in memory."""

import numpy as np
import pytest
from numpy.testing import assert_allclose

from sklearn_rnla._random import stream
from sklearn_rnla.linalg import randomized_svd
from sklearn_rnla.linalg.singular.two_sided_krylov import two_sided_krylov
from tests.matrices import gallery, with_spectrum


def found_of(A, k, tol=1e-3, max_passes=30, width=None):
    return two_sided_krylov(
        A,
        k,
        width or k + 8,
        tol=tol,
        error_of=lambda lacking, captured: lacking / captured,
        max_passes=max_passes,
        rng=stream(0),
    )


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("shape", [(300, 200), (200, 300)])
def test_the_energy_it_lacks_is_within_the_tolerance(shape, dtype):
    for _, A in gallery(*shape, dtype=dtype):
        s = np.linalg.svd(A.astype(np.float64), compute_uv=False)
        found = found_of(A, 10)
        if found is None:
            # Only where so many singular values do not stand out of rounding.
            assert s[9] ** 2 < 100 * np.finfo(dtype).eps * s[0] ** 2
            continue
        best = np.sum(s[:10] ** 2)
        captured = np.sum(found.singular_values.astype(np.float64) ** 2)
        assert 1 - captured / best <= 2e-3
        assert 1 - captured / best <= 2 * found.error_estimate + 1e-6


@pytest.mark.parametrize("decay", [1.0, 0.8, 0.3])
@pytest.mark.parametrize("scale", [1.0, 1e-100, 1e100])
def test_factors_are_orthonormal_and_belong_to_each_other(decay, scale):
    A = scale * with_spectrum(decay ** np.arange(60), 120, 90)
    found = found_of(A, 6)
    assert_allclose(found.U.T @ found.U, np.eye(6), atol=1e-13)
    assert_allclose(found.Vt @ found.Vt.T, np.eye(6), atol=1e-13)
    image = found.U.T @ A
    expected = found.singular_values[:, np.newaxis] * found.Vt
    assert_allclose(image, expected, rtol=0, atol=1e-12 * found.singular_values[0])


def test_a_basis_that_is_cut_back_still_converges():
    A = np.random.default_rng(0).standard_normal((400, 300))
    s = np.linalg.svd(A, compute_uv=False)[:2]
    found = found_of(A, 2, tol=1e-10, max_passes=300, width=4)
    assert found.n_passes > 8
    assert_allclose(found.singular_values, s, rtol=1e-8)


def test_a_matrix_of_low_rank_ends_the_iteration():
    A = with_spectrum(np.ones(12), 100, 80)
    found = found_of(A, 10, tol=0.0)
    assert found.n_passes < 4
    assert_allclose(found.singular_values, 1, rtol=1e-12)


def test_zero_and_lower_rank_are_left_to_others():
    assert found_of(np.zeros((30, 20)), 3) is None
    assert found_of(with_spectrum(np.ones(2), 30, 20), 3) is None


def test_what_the_driver_returns_does_not_depend_on_the_side(seed):
    A = with_spectrum(1 / np.arange(1, 400), 900, 700, seed=seed)
    over, under = (randomized_svd(B, 10, tol=1e-8, random_state=0) for B in (A, A.T))
    assert_allclose(over.singular_values, under.singular_values, rtol=1e-7)
    assert_allclose(np.abs(over.Vt @ under.U), np.eye(10), atol=1e-4)
