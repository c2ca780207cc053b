"""Facts about probabilistic principal components of tables with missing entries."""

import numpy as np
import pytest

from sklearn_rnla.linalg.completion.em import ppca
from sklearn_rnla.linalg.completion.model import fold_in
from sklearn_rnla.operators.observed import Observed


def _table(n=200, p=8, rank=2, noise=0.3, share=0.3, seed=0, dtype=np.float64):
    """Return a table of low rank and noise, and the same with missing entries."""
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n, rank)) @ rng.standard_normal((rank, p))
    X = 3 + X + noise * rng.standard_normal((n, p))
    Y = np.where(rng.random((n, p)) < share, np.nan, X)
    return X.astype(dtype), Y.astype(dtype)


def _fit(X, *args, seed=0, **options):
    return ppca(X, *args, rng=np.random.default_rng(seed), **options)


def _rms(errors):
    return np.sqrt(np.mean(np.square(errors)))


def _prediction(model, rows):
    product = np.einsum("isd,jsd->ij", rows[..., 1:], model.columns[..., 1:])
    biases = rows[:, 0, 0, np.newaxis] + model.columns[:, 0, 0]
    return model.units.location + model.units.scale * (biases + product)


def _moments(gaussian):
    """Return mean and covariance in units of the table."""
    root = gaussian.scale[:, np.newaxis] * gaussian.vectors
    mean = gaussian.location + gaussian.scale * gaussian.mean
    return mean, (root * gaussian.values) @ root.T


def _conditional_means(X, mean, covariance):
    filled = X.copy()
    for row in filled:
        m = np.isnan(row)
        S = covariance[np.ix_(~m, ~m)]
        row[m] = mean[m] + covariance[np.ix_(m, ~m)] @ np.linalg.solve(S, (row - mean)[~m])
    return filled


@pytest.mark.parametrize("rank", [None, 3, 0])
def test_with_nothing_missing_it_has_the_closed_form(rank):
    X, _ = _table()
    gaussian = _fit(X, rank, shrinkage=0.0).gaussian
    Z = (X - X.mean(axis=0)) / X.std(axis=0)
    values = np.linalg.eigvalsh(Z.T @ Z / len(Z))
    n_noise = 1 if rank is None else len(values) - rank
    values[:n_noise] = values[:n_noise].mean()
    np.testing.assert_allclose(gaussian.values, values)
    np.testing.assert_allclose(_moments(gaussian)[0], X.mean(axis=0))


@pytest.mark.parametrize("rank", [None, 2])
@pytest.mark.parametrize("shrinkage", [0.0, 5.0])
def test_the_likelihood_never_falls(rank, shrinkage):
    _, X = _table()
    history = _fit(X, rank, shrinkage=shrinkage, tol=1e-3, max_iter=40).history
    assert len(history) > 5
    assert np.all(np.diff(history) >= -1e-12)


@pytest.mark.parametrize("share", [0.3, 0.8])
@pytest.mark.parametrize("rank", [None, 2])
def test_missing_entries_are_conditional_means(rank, share):
    _, X = _table(share=share)
    result = _fit(X, rank)
    expected = _conditional_means(X, *_moments(result.gaussian))
    np.testing.assert_allclose(result.filled, expected)


def test_the_log_likelihood_is_that_of_observed_entries():
    _, X = _table(n=30, p=4)
    result = _fit(X, shrinkage=0.0, max_iter=3)
    mean, covariance = _moments(result.gaussian)
    total = 0.0
    for row in X:
        k = ~np.isnan(row)
        S, d = covariance[np.ix_(k, k)], (row - mean)[k]
        total -= np.linalg.slogdet(S)[1] + d @ np.linalg.solve(S, d)
        total += 2 * np.log(result.gaussian.scale[k]).sum()
    np.testing.assert_allclose(result.history[-1], total / 2 / (~np.isnan(X)).sum())


@pytest.mark.parametrize("rank", [None, 2, 0])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_low_rank_model_has_the_conditional_means_of_any_rows(rank, dtype):
    _, X = _table(dtype=dtype)
    X[:, 0] *= 100
    _, new = _table(n=50, seed=1, dtype=dtype)
    result = _fit(X, rank)
    rtol = 1e-3 if dtype == np.float32 else 1e-8
    for table, rows in ((X, result.model.rows), (new, None)):
        folded, _ = fold_in(result.model, Observed.from_dense(table))
        missing = np.isnan(table)
        linear = _prediction(result.model, folded)[missing]
        np.testing.assert_allclose(
            linear, result.gaussian.fill(table)[missing], rtol=rtol, atol=rtol
        )
        if rows is not None:
            np.testing.assert_allclose(folded, rows, rtol=rtol, atol=rtol)
    assert result.model.columns.dtype == result.filled.dtype == dtype
    assert result.model.rows.dtype == dtype


def test_residuals_are_errors_of_leaving_one_entry_out():
    X, _ = _table(n=20)
    gaussian = _fit(X, shrinkage=1.0).gaussian
    without = X.copy()
    without[:, 2] = np.nan
    errors = (X - gaussian.fill(without))[:, 2] / gaussian.scale[2]
    np.testing.assert_allclose(gaussian.residuals(X)[:, 2], errors)


def test_columns_in_other_units_are_filled_the_same():
    _, X = _table()
    unit = 10.0 ** np.arange(-4, 4)
    np.testing.assert_allclose(_fit(X * unit).filled, _fit(X).filled * unit)


def test_a_row_without_entries_gets_the_means_and_tells_nothing():
    _, X = _table()
    more = np.vstack([X, np.full((5, X.shape[1]), np.nan)])
    one, other = _fit(X, shrinkage=1.0), _fit(more, shrinkage=1.0)
    np.testing.assert_allclose(other.filled[: len(X)], one.filled)
    mean, _ = _moments(other.gaussian)
    np.testing.assert_allclose(other.filled[len(X) :], np.tile(mean, (5, 1)))
    np.testing.assert_allclose(one.history, other.history)


def test_a_constant_column_is_filled_by_its_constant():
    _, X = _table()
    X[:, 3] = np.where(np.isnan(X[:, 3]), np.nan, 0.1)
    np.testing.assert_allclose(_fit(X).filled[:, 3], 0.1)


@pytest.mark.parametrize("shape", [(1, 4), (2, 3), (6, 20), (30, 1)])
def test_small_tables_are_filled(shape):
    X, _ = _table(*shape)
    X[0, 0] = np.nan
    result = _fit(X)
    assert np.isfinite(result.filled).all()
    assert np.isfinite(result.model.columns).all()


def test_a_column_without_an_entry_is_filled_by_zero():
    _, X = _table()
    X[:, 1] = np.nan
    np.testing.assert_allclose(_fit(X).filled[:, 1], 0, atol=1e-12)


def test_threads_change_nothing_but_rounding_and_a_seed_nothing_at_all():
    _, X = _table(n=1500)
    one = _fit(X, n_jobs=1)
    np.testing.assert_array_equal(_fit(X, n_jobs=1).filled, one.filled)
    np.testing.assert_allclose(_fit(X, n_jobs=2).filled, one.filled)


@pytest.mark.parametrize("noise", [0.01, 0.3])
@pytest.mark.parametrize("seed", range(3))
def test_the_error_is_near_that_of_the_true_distribution(noise, seed):
    X, Y = _table(n=400, p=16, noise=noise, seed=seed)
    rng = np.random.default_rng(seed)
    rng.standard_normal((400, 2))
    V = rng.standard_normal((2, 16))
    truth = _conditional_means(Y, np.full(16, 3.0), V.T @ V + noise**2 * np.eye(16))
    result = _fit(Y)
    missing = np.isnan(Y)
    best = _rms((truth - X)[missing])
    assert _rms((result.filled - X)[missing]) < 1.5 * best
    # Hidden entries leave less of their rows to be told by.
    assert 0.5 * best < result.errors(Y).rms < 3 * best


def test_report_stops_the_fit():
    _, X = _table()
    calls = []
    result = _fit(
        X, shrinkage=1.0, tol=0.0, report=lambda: calls.append(0) or len(calls) == 3
    )
    assert result.n_iter == len(calls) == 3
    assert not result.converged


@pytest.mark.parametrize(("shape", "bound"), [((500, 30), 1e-10), ((35, 70), 3e-4)])
@pytest.mark.parametrize("rank", [1, 3])
def test_steps_go_on_where_entries_are_determined_without_noise(shape, bound, rank):
    X, Y = _table(*shape, rank=rank, noise=0.0)
    result = _fit(Y)
    assert result.converged
    assert _rms((result.filled - X)[np.isnan(Y)]) < bound * X.std()
    # Hidden entries leave less of their rows to be told by.
    assert result.errors(Y).rms < 3 * bound * X.std()
