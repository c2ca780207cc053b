import numpy as np
import pytest

from sklearn_rnla.linalg.completion.als import als, fit_rows
from sklearn_rnla.operators.observed import Observed


def low_rank(m, n, rank, density, seed, noise=0.1, dtype=np.float64, n_jobs=None):
    """Return observed entries, and others."""
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((m, rank)) @ rng.standard_normal((rank, n))
    X += noise * rng.standard_normal((m, n))
    kind = rng.random((m, n))
    shown = np.where(kind < density, X, np.nan).astype(dtype)
    hidden = np.where(kind > 0.9, X, np.nan).astype(dtype)
    return Observed.from_dense(shown, n_jobs=n_jobs), Observed.from_dense(hidden)


def fit(observed, rank, seed=0, **params):
    params = {"max_iter": 30, "tol": 1e-6} | params
    return als(observed, rank, rng=np.random.default_rng(seed), **params)


def error(held_out, found):
    left = held_out.values - held_out.sampled_product(found.U, found.V)
    return np.sqrt(np.square(left).mean())


def dense_rows(observed, V, penalty, reg_power):
    U = np.zeros((observed.shape[0], V.shape[1]))
    for i in range(len(U)):
        entries = slice(*observed.indptr[i : i + 2])
        W = V[observed.indices[entries]].astype(np.float64)
        if len(W):
            ridge = penalty * len(W) ** reg_power
            A = W.T @ W + ridge * np.eye(V.shape[1])
            U[i] = np.linalg.solve(A, W.T @ observed.values[entries])
    return U


@pytest.mark.parametrize("reg_power", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("rank", [1, 3, 16, 37])
def test_rows_are_ridge_regressions(rank, reg_power, seed):
    observed, _ = low_rank(60, 80, 3, 0.2, seed)
    V = np.random.default_rng(seed).standard_normal((80, rank))
    U = fit_rows(observed, V, penalty=0.1, reg_power=reg_power)
    np.testing.assert_allclose(U, dense_rows(observed, V, 0.1, reg_power), atol=1e-9)


def test_rows_longer_than_the_buffer_are_ridge_regressions():
    rng = np.random.default_rng(0)
    observed = Observed.from_dense(rng.standard_normal((2, 9001)))
    V = rng.standard_normal((9001, 20))
    U = fit_rows(observed, V, penalty=0.1)
    np.testing.assert_allclose(U, dense_rows(observed, V, 0.1, 1.0), atol=1e-10)


def test_single_precision_agrees_with_double(seed):
    observed, _ = low_rank(60, 80, 3, 0.3, seed, dtype=np.float32)
    V = np.random.default_rng(seed).standard_normal((80, 5), np.float32)
    U = fit_rows(observed, V, penalty=0.1)
    assert U.dtype == np.float32
    exact = dense_rows(observed, V, 0.1, 1.0)
    np.testing.assert_allclose(U, exact, atol=1e-4 * np.abs(exact).max())


@pytest.mark.parametrize("n_cg", [1, 3])
def test_the_objective_never_rises(n_cg, seed):
    observed, _ = low_rank(60, 50, 4, 0.4, seed)
    found = fit(observed, 6, seed, penalty=0.05, n_cg=n_cg, tol=0.0)
    assert np.all(np.diff(found.history) <= 1e-12 * found.history[0])


def test_the_objective_is_what_it_says(seed):
    observed, _ = low_rank(60, 50, 4, 0.4, seed)
    found = fit(observed, 6, seed, penalty=0.05, max_iter=400, tol=1e-13)
    left = observed.values - observed.sampled_product(found.U, found.V)
    norms = observed.counts @ np.square(found.U).sum(axis=1)
    norms += observed.T.counts @ np.square(found.V).sum(axis=1)
    objective = np.square(left).sum() + 0.05 * norms
    assert found.history[-1] == pytest.approx(objective, rel=1e-9)


def test_columns_are_ridge_regressions_in_the_limit(seed):
    observed, _ = low_rank(60, 50, 4, 0.4, seed)
    found = fit(observed, 4, seed, penalty=0.05, max_iter=1000, tol=1e-14)
    assert found.converged
    V = fit_rows(observed.T, found.U, penalty=0.05)
    np.testing.assert_allclose(found.V, V, atol=1e-4)


def test_rows_of_the_data_fold_in_to_their_factors(seed):
    observed, _ = low_rank(60, 50, 4, 0.4, seed, dtype=np.float32)
    found = fit(observed, 4, seed)
    U = fit_rows(observed, found.V, penalty=found.penalty)
    np.testing.assert_array_equal(U, found.U)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("n_jobs", [1, 2])
def test_the_same_seed_gives_the_same_factors_in_any_threads(dtype, n_jobs):
    one, _ = low_rank(300, 200, 3, 0.3, 0, dtype=dtype)
    other, _ = low_rank(300, 200, 3, 0.3, 0, dtype=dtype, n_jobs=n_jobs)
    a, b = fit(one, 5, max_iter=4), fit(other, 5, max_iter=4)
    assert a.U.dtype == a.V.dtype == dtype
    np.testing.assert_array_equal(a.U, b.U)
    np.testing.assert_array_equal(a.V, b.V)
    assert not np.array_equal(a.V, fit(one, 5, seed=1, max_iter=4).V)


@pytest.mark.parametrize("noise", [0.1, 1.0, 3.0])
def test_the_estimated_penalty_is_nearly_the_best(noise, seed):
    observed, hidden = low_rank(150, 100, 3, 0.4, seed, noise=noise)
    own = error(hidden, fit(observed, 8, seed))
    penalties = np.geomspace(1e-1, 10, 8) * noise / 8
    best = min(error(hidden, fit(observed, 8, seed, penalty=p)) for p in penalties)
    assert own <= 1.05 * best


def test_noise_alone_leaves_nearly_nothing(seed):
    rng = np.random.default_rng(seed)
    X = np.where(rng.random((300, 200)) < 0.2, rng.standard_normal((300, 200)), np.nan)
    observed = Observed.from_dense(X)
    found = fit(observed, 5, seed, penalty=2 * fit(observed, 5, seed).penalty)
    assert np.abs(found.U @ found.V.T).max() < 1e-3


def test_empty_rows_and_columns_have_zero_factors(seed):
    X = np.random.default_rng(seed).standard_normal((20, 15))
    X[[0, 7]], X[:, [3, 14]] = np.nan, np.nan
    for power in (0.0, 1.0):
        found = fit(Observed.from_dense(X), 3, seed, reg_power=power)
        assert not found.U[[0, 7]].any()
        assert not found.V[[3, 14]].any()
        assert np.isfinite(found.U).all()
        assert np.isfinite(found.V).all()


@pytest.mark.parametrize("shape", [(1, 1), (1, 6), (6, 1), (4, 3)])
@pytest.mark.parametrize("penalty", [None, 0.1])
def test_more_factors_than_entries_of_a_row_are_finite(shape, penalty, seed):
    X = np.random.default_rng(seed).standard_normal(shape)
    found = fit(Observed.from_dense(X), 10, seed, penalty=penalty)
    assert found.U.shape == (shape[0], 10)
    assert np.isfinite(found.U).all()
    assert np.isfinite(found.V).all()


def test_zeros_and_nothing_are_fitted_by_zero():
    for value in (0.0, np.nan):
        found = fit(Observed.from_dense(np.full((4, 5), value)), 2)
        np.testing.assert_allclose(found.U @ found.V.T, 0, atol=1e-12)


def test_the_best_sweep_on_held_out_entries_is_kept(seed):
    observed, hidden = low_rank(100, 80, 3, 0.3, seed, noise=2.0)
    params = {"penalty": 1e-3, "tol": 0.0}
    found = fit(observed, 10, seed, held_out=hidden, **params)
    assert found.converged
    assert found.n_iter == len(found.history) < 30
    assert error(hidden, found) <= 1.05 * min(found.history)
    assert error(hidden, found) < error(hidden, fit(observed, 10, seed, **params))


def test_the_start_is_taken_and_left_as_it_was(seed):
    observed, _ = low_rank(60, 50, 4, 0.4, seed)
    first = fit(observed, 4, seed, penalty=0.05, max_iter=200)
    before = first.V.copy()
    again = fit(observed, 4, seed, penalty=0.05, start=first.V)
    np.testing.assert_array_equal(first.V, before)
    assert again.n_iter <= 2


def test_a_report_can_stop_it():
    observed, _ = low_rank(60, 50, 4, 0.4, 0)
    seen = []

    def report():
        seen.append(True)
        return len(seen) == 3

    found = fit(observed, 4, report=report, tol=0.0)
    assert len(seen) == found.n_iter == len(found.history) == 3
    assert not found.converged


def test_nothing_left_in_single_precision_has_finite_factors():
    found = fit(Observed.from_dense(np.zeros((6, 3), np.float32)), 2, 0)
    assert np.isfinite(found.U).all()
    assert not found.U.any()
