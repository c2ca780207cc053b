import numpy as np
import pytest

from sklearn_rnla.linalg.completion.biases import fit_biases
from sklearn_rnla.operators.observed import Observed


def additive(m, n, density, seed, noise=0.3, dtype=np.float64):
    rng = np.random.default_rng(seed)
    X = 3 + rng.standard_normal((m, 1)) + 0.5 * rng.standard_normal(n)
    X += noise * rng.standard_normal((m, n))
    X[rng.random((m, n)) > density] = np.nan
    return Observed.from_dense(X.astype(dtype))


def test_biases_are_the_ridge_solution_at_their_penalties(seed):
    observed = additive(30, 20, 0.4, seed)
    found = fit_biases(observed, max_iter=1000, tol=1e-12)
    entries = np.arange(observed.nnz)
    A = np.zeros((observed.nnz, 51))
    A[:, 0] = 1
    A[entries, 1 + observed.rows] = 1
    A[entries, 31 + observed.indices] = 1
    ridge = np.diag([0] + [found.row_penalty] * 30 + [found.column_penalty] * 20)
    exact = np.linalg.solve(A.T @ A + ridge, A.T @ observed.values)
    np.testing.assert_allclose(
        np.concatenate([[found.offset], found.rows, found.columns]), exact, atol=1e-8
    )


def test_penalties_are_ratios_of_variances(seed):
    found = fit_biases(additive(1000, 1000, 0.03, seed))
    # A variance of 1000 normal biases has a standard error of 4.5 %.
    assert found.row_penalty == pytest.approx(0.3**2, rel=0.3)
    assert found.column_penalty == pytest.approx(0.3**2 / 0.5**2, rel=0.3)


def test_noise_has_no_biases(seed):
    rng = np.random.default_rng(seed)
    observed = Observed.from_dense(rng.standard_normal((100, 80)))
    found = fit_biases(observed, max_iter=1000)
    assert min(found.row_penalty, found.column_penalty) > 100
    # Unpenalised, they would be of size 0.1.
    assert np.sqrt(np.square(found.rows).mean()) < 0.05


def test_the_residual_is_what_the_model_leaves(seed):
    observed = additive(30, 20, 0.4, seed)
    found = fit_biases(observed)
    model = found.offset + found.rows[:, None] + found.columns
    left = found.residual(observed)
    np.testing.assert_allclose(
        left.values, observed.values - model[observed.rows, observed.indices]
    )


def test_rows_and_columns_without_an_entry_have_no_bias():
    observed = additive(30, 20, 0.4, 0)
    shape = (33, 25)
    wider = Observed.from_pairs(
        observed.rows + 2, observed.indices + 4, observed.values, shape
    )
    found, inner = fit_biases(wider), fit_biases(observed)
    assert not found.rows[[0, 1, 32]].any()
    assert not found.columns[[0, 1, 2, 3, 24]].any()
    np.testing.assert_allclose(found.rows[2:32], inner.rows)
    assert found[3:] == pytest.approx(inner[3:])


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("shape", [(1, 1), (1, 5), (5, 1), (4, 3)])
def test_constant_entries_are_the_offset(shape, dtype):
    found = fit_biases(Observed.from_dense(np.full(shape, 0.1, dtype)))
    assert found.offset == pytest.approx(0.1)
    assert not found.rows.any()
    assert not found.columns.any()


@pytest.mark.parametrize("shape", [(1, 6), (6, 1), (2, 2), (2, 3)])
def test_few_entries_are_fitted_by_finite_biases(shape, seed):
    X = np.random.default_rng(seed).standard_normal(shape)
    observed = Observed.from_dense(X)
    found = fit_biases(observed)
    assert np.isfinite(found.offset)
    assert np.isfinite(found.rows).all()
    assert np.isfinite(found.columns).all()
    spread = np.square(X - X.mean()).sum()
    assert np.square(found.residual(observed).values).sum() <= spread * (1 + 1e-9)


def test_exactly_additive_entries_leave_nothing():
    observed = additive(40, 30, 0.5, 0, noise=0.0)
    left = fit_biases(observed, max_iter=500, tol=1e-12).residual(observed)
    assert np.abs(left.values).max() < 1e-3


def test_no_entries_have_no_biases():
    found = fit_biases(Observed.from_dense(np.full((3, 2), np.nan)))
    assert found.offset == 0
    assert not found.rows.any()
    assert not found.columns.any()


def test_threads_and_precision_change_nothing_that_matters(seed):
    double = additive(300, 200, 0.3, seed)
    single = double.with_values(double.values.astype(np.float32))
    threaded = Observed(
        double.shape, double.indptr, double.indices, double.values, n_jobs=2
    )
    found = fit_biases(double)
    np.testing.assert_array_equal(fit_biases(threaded).rows, found.rows)
    np.testing.assert_allclose(fit_biases(single).rows, found.rows, atol=1e-5)
