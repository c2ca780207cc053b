"""Wide sparse matrices."""

import tracemalloc

import numpy as np
import pytest
import scipy.sparse as sp

from sklearn_rnla.linalg.singular.gram import gram_svd
from sklearn_rnla.linalg.singular.rank_rules import FixedRank
from sklearn_rnla.linalg.singular.row_gram import WideSparse
from sklearn_rnla.linalg.singular.truncated_svd import Settings, right_svd
from sklearn_rnla.operators import CenteredMatrix, as_row_matrix
from tests.invariants import assert_close_to_scale, assert_orthonormal_rows, excess


def example(dtype=np.float64):
    """Return data with columns that are empty, sparse, nearly full, and far from zero."""
    rng = np.random.default_rng(0)
    X = sp.random(60, 2000, density=0.02, random_state=0).toarray()
    X[:, 5:9] = rng.standard_normal((60, 4))
    X[:, 11] = rng.normal(2020, 3, 60)
    X[:, 100:900] = 0
    return X.astype(dtype)


def matrix(X, center, weight=None):
    rows = as_row_matrix(sp.csr_array(X))
    rows = rows if weight is None else rows.with_weight(weight)
    return CenteredMatrix(rows, center=center)


def dense(X, center, weight):
    X, w = X.astype(float), np.ones(len(X)) if weight is None else weight
    X = X - np.average(X, axis=0, weights=w) if center else X
    return np.sqrt(w)[:, np.newaxis] * X


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("center", [True, False])
@pytest.mark.parametrize("weighted", [True, False])
def test_products_are_those_of_the_centred_matrix(dtype, center, weighted):
    X = example(dtype)
    w = np.random.default_rng(0).random(60).astype(dtype) if weighted else None
    B, A = dense(X, center, w), WideSparse(matrix(X, center, w))
    # The mean is known to the precision of the data.
    assert_close_to_scale(A.gram(), B @ B.T, dtype, 1e5)
    U = np.random.default_rng(1).standard_normal((3, 60))
    assert_close_to_scale(A.combine(U), U @ B, dtype, 1e5)
    R = A.triangular_factor()
    assert_close_to_scale(R.T @ R, B @ B.T, dtype, 1e5)


@pytest.mark.parametrize("algorithm", ["auto", "gram"])
@pytest.mark.parametrize("center", [True, False])
def test_values_that_squaring_loses_are_accurate_to_rounding(algorithm, center):
    X = example() * (10.0 ** -np.linspace(0, 9, 60))[:, np.newaxis]
    s = np.linalg.svd(dense(X, center, None), compute_uv=False)
    rng = np.random.default_rng(0)
    _, found = right_svd(matrix(X, center), FixedRank(60), Settings(algorithm), rng=rng)
    assert np.abs(found.singular_values[:60] - s).max() <= 1e-13 * s[0]
    assert_orthonormal_rows(found.components)


def wide_matrices():
    noise = sp.random(400, 4000, density=0.01, random_state=0, format="csr")
    yield "noise", noise
    yield "power law", sp.csr_array(sp.diags(np.arange(1.0, 401) ** -0.7) @ noise)
    heavy = noise.tolil()
    heavy[:, -1] = heavy[123] = 0
    heavy[123, -1] = 5000
    yield "a single entry", heavy.tocsr()


@pytest.mark.parametrize(("name", "X"), list(wide_matrices()))
@pytest.mark.parametrize("center", [True, False])
def test_an_iteration_on_the_rows_ends_within_its_estimate(name, X, center, seed):
    rng = np.random.default_rng(seed)
    _, found = right_svd(matrix(X, center), FixedRank(5), Settings("krylov"), rng=rng)
    V = found.components[:5]
    assert_orthonormal_rows(V)
    truth = excess(X.toarray(), V, 5, center)
    assert truth <= found.error_estimate <= 1e-3
    coordinates = (X - X.mean(axis=0) if center else X.toarray()) @ V.T
    squares = np.sum(np.asarray(coordinates) ** 2, axis=0)
    np.testing.assert_allclose(found.singular_values[:5] ** 2, squares)


def test_no_row_is_made_dense():
    X = sp.random(400, 40_000, density=0.1, format="csr", random_state=0)
    A = CenteredMatrix(as_row_matrix(X))
    tracemalloc.start()
    gram_svd(A, 5, rng=np.random.default_rng(0))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    # The matrix would take 128 MB as a dense one, the entries take 20 MB.
    assert peak < 60e6


def test_a_unit_that_the_first_pass_changes_holds_for_all_products():
    X = example()
    X[20, 3] = 1e180
    A = matrix(X, center=True).in_safe_unit()
    s, _ = right_svd(A, FixedRank(3), rng=np.random.default_rng(0))[1][:2]
    unscaled = np.linalg.svd(dense(X / 1e180, True, None), compute_uv=False)
    np.testing.assert_allclose(s[0] * (A.unit / 1e180), unscaled[0])
