"""One pass: what it finds, and what it says about that."""

import numpy as np
import pytest
import scipy.sparse as sp

from sklearn_rnla.linalg.singular.one_view import one_view_right_svd
from sklearn_rnla.operators import CenteredMatrix, as_row_matrix
from tests.invariants import assert_decreasing, assert_orthonormal_rows, excess
from tests.matrices import coherent, deep, gallery, with_spectrum


def solve(X, k, seed, center=True, weight=None):
    rows = as_row_matrix(X)
    rows = rows if weight is None else rows.with_weight(weight)
    A = CenteredMatrix(rows, center=center)
    return one_view_right_svd(A, k, rng=np.random.default_rng(seed))


def matrices():
    rng = np.random.default_rng(0)
    yield "noise", rng.standard_normal((250, 500))
    yield "coherent", coherent(2000, 100)
    yield "power law rows", rng.standard_normal((1000, 80)) / np.arange(1, 1001)[:, None]
    yield from gallery(600, 150)


MATRICES = dict(matrices())


@pytest.mark.parametrize("k", [1, 10])
@pytest.mark.parametrize("name", MATRICES)
def test_values_are_those_of_the_coordinates_and_the_estimate_covers(name, k):
    X = MATRICES[name] - MATRICES[name].mean(axis=0)
    # The probe has 10 k + 100 rows; beyond four standard deviations lie 6e-5 of draws.
    bound = 4 * np.sqrt(2 / (10 * k + 100))
    covered = []
    for seed in range(20):
        found = solve(X, k, seed)
        squares = np.sum((X @ found.components.T) ** 2, axis=0)
        np.testing.assert_allclose(found.singular_values**2, squares, rtol=bound)
        assert np.sum(found.singular_values**2) <= np.sum(X**2) * (1 + 1e-12)
        assert_decreasing(found.singular_values)
        assert_orthonormal_rows(found.components)
        truth = excess(X, found.components, k, False)
        covered.append(truth <= found.error_estimate + 1e-12)
    assert sum(covered) >= 19


def test_the_error_is_that_of_a_randomized_svd_which_reads_twice():
    # Halko, Martinsson & Tropp (2011), theorem 10.5 with 4 r + 1 random vectors: before
    # truncation the expected squared error is at most 1 + r / (3 r) times that of the
    # best rank r; truncation adds the latter once more.
    r, s = 4, 1 / np.arange(1.0, 61)
    A = with_spectrum(s, 500, 60)
    best = np.sqrt(np.sum(s[r:] ** 2))
    V = [solve(A, r, seed, center=False).components for seed in range(20)]
    errors = [np.linalg.norm(A - A @ v.T @ v) for v in V]
    assert np.mean(np.square(errors)) <= (1 + np.sqrt(4 / 3)) ** 2 * best**2


@pytest.mark.parametrize("make", [np.asarray, sp.csr_array])
@pytest.mark.parametrize(
    ("dtype", "scale", "mean"),
    [(np.float32, 1e-17, 0), (np.float32, 1e17, 0), (np.float32, 1, 1e4), (float, 1, 1e8)],
)
def test_units_and_means_change_nothing(make, dtype, scale, mean):
    X = with_spectrum(300 * 0.9 ** np.arange(40), 900, 40)
    one = solve(X, 4, 0)
    other = solve(make(((X + mean) * scale).astype(dtype)), 4, 0)
    values = other.singular_values / scale
    np.testing.assert_allclose(values, one.singular_values, rtol=1e-3)
    assert other.error_estimate == pytest.approx(one.error_estimate, rel=0.01)


@pytest.mark.parametrize("make", [np.asarray, sp.csr_array])
def test_weights_are_repetitions_and_rows_without_may_be_anywhere(make):
    rng = np.random.default_rng(0)
    X = rng.standard_normal((400, 8)) * np.linspace(3, 1, 8) + 5
    weight = rng.integers(0, 3, 400).astype(float)
    X[weight == 0] = 1e8
    weighted = solve(make(X), 8, 0, weight=weight)
    repeated = solve(np.repeat(X, weight.astype(int), axis=0), 8, 0)
    np.testing.assert_allclose(weighted.singular_values, repeated.singular_values)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_single_precision_loses_no_more_than_double(dtype):
    A, s = deep(600, 60, digits=6)
    found = solve(A.astype(dtype), 12, 0, center=False)
    np.testing.assert_allclose(found.singular_values, s[:12], rtol=1e-3)


def test_an_error_that_is_lost_in_rounding_is_not_stated_as_zero():
    A, _ = deep(600, 60, digits=12)
    assert solve(A, 50, 0).error_estimate > 0.1
    assert solve(A, 60, 0).error_estimate <= 1e-15
