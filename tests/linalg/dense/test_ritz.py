"""Block Krylov steps, on a symmetric matrix and on its inverse."""

from itertools import islice

import numpy as np
import pytest
from numpy.testing import assert_allclose

from sklearn_rnla._random import stream
from sklearn_rnla.linalg.dense.ritz import MAX_BLOCKS, RitzBasis, krylov_steps
from sklearn_rnla.linalg.singular.inverse_krylov import inverse_krylov
from tests.invariants import assert_orthonormal_rows
from tests.matrices import with_spectrum


def symmetric(values, seed):
    half = with_spectrum(np.ones(len(values)), len(values), len(values), seed=seed)
    return (half * values) @ half.T


def steps_on(A, basis, seed):
    start = np.linalg.qr(stream(seed).standard_normal((len(A), basis.width)))[0].T
    return krylov_steps(basis, start, lambda V: (V @ A, V @ A @ V.T))


def test_every_step_keeps_the_basis_orthonormal_and_knows_the_projected_matrix(seed):
    A = symmetric(np.linspace(-1, 2, 120), seed)
    basis = RitzBasis(4, np.float64)
    for step in islice(steps_on(A, basis, seed), 3 * MAX_BLOCKS):
        V = basis.vectors
        assert len(V) <= MAX_BLOCKS * basis.width
        assert_orthonormal_rows(V)
        assert_allclose(basis.images, V @ A, atol=1e-12)
        assert_allclose(basis.H, V @ A @ V.T, atol=1e-12)
        # Residuals are orthogonal to all of the basis.
        assert_allclose(step.residuals @ V.T, 0, atol=1e-12)


def test_ritz_values_never_fall_even_where_the_basis_is_cut_back(seed):
    A = symmetric(np.linspace(0, 1, 200), seed)
    steps = steps_on(A, RitzBasis(3, np.float64), seed)
    values = np.array([step.ritz.values for step in islice(steps, 3 * MAX_BLOCKS)])
    assert np.diff(values, axis=0).min() >= -1e-12
    assert_allclose(values[-1], np.linalg.eigvalsh(A)[:-4:-1], rtol=1e-2)


def test_steps_end_with_the_space():
    A = symmetric(np.arange(1.0, 11), 0)
    basis = RitzBasis(4, np.float64)
    steps = list(steps_on(A, basis, 0))
    assert len(basis.vectors) == 10
    assert_allclose(steps[-1].ritz.values, [10, 9, 8, 7])


@pytest.mark.parametrize("n_zero", [0, 3])
def test_iteration_on_the_inverse_finds_the_last_eigenvectors(n_zero, seed):
    values = np.r_[np.zeros(n_zero), np.linspace(1, 100, 300 - n_zero)]
    G = symmetric(values, seed)
    V, error = inverse_krylov(G.copy(), 4, 12, tol=1e-6, max_passes=30, rng=stream(seed))
    assert_orthonormal_rows(V)
    least = values[:4].sum()
    assert np.trace(V @ G @ V.T) <= least + max(1e-5 * least, 1e-10)
    assert error <= 1e-6


def test_of_a_zero_matrix_all_eigenvectors_are_the_last():
    V, error = inverse_krylov(np.zeros((5, 5)), 2, 3, tol=0.1, max_passes=3, rng=stream(0))
    assert_orthonormal_rows(V)
    assert error == 0
