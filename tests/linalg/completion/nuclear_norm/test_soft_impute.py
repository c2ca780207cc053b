"""Completion with a penalty on the nuclear norm, and of given rank."""

import numpy as np
import pytest

from sklearn_rnla.linalg.completion.nuclear_norm import filled as module
from sklearn_rnla.linalg.completion.nuclear_norm.hard_impute import iterative_svd
from sklearn_rnla.linalg.completion.nuclear_norm.soft_impute import (
    largest_penalty,
    soft_impute,
    soft_impute_path,
)
from sklearn_rnla.operators.observed import Observed

DTYPES = pytest.mark.parametrize("dtype", [np.float32, np.float64])


@pytest.fixture(params=["filled in", "factors"])
def way(request, monkeypatch):
    """Both ways are to solve every problem that is not completely observed."""
    filled = request.param == "filled in"
    monkeypatch.setattr(module, "_SMALL", np.inf if filled else 0)
    monkeypatch.setattr(module, "_NARROW", 0)
    return request.param


def rng(seed=0):
    return np.random.default_rng(seed)


def incomplete(seed, m=80, n=60, rank=4, share=0.4, noise=0.3, dtype=np.float64):
    """Return a low-rank matrix with noise, NaN where it is not observed."""
    draw = rng(seed + 10)
    X = draw.standard_normal((m, rank)) @ draw.standard_normal((rank, n))
    X += noise * draw.standard_normal((m, n))
    X[draw.random((m, n)) > share] = np.nan
    return X.astype(dtype)


def observed_of(X, **params):
    return Observed.from_dense(X, **params)


def matrix(found):
    return (found.U * found.singular_values) @ found.Vt


def residual(X, found):
    return np.where(np.isnan(X), 0, X - matrix(found))


def objective(X, M, penalty):
    loss = 0.5 * np.square(np.where(np.isnan(X), 0, X - M)).sum()
    return loss + penalty * np.linalg.svd(M, compute_uv=False).sum()


def reference(X, penalty, n_steps):
    """Return the objective after accelerated proximal steps with full SVDs, and its gap."""
    known = ~np.isnan(X)
    M = before = np.zeros(X.shape)
    for i in range(n_steps):
        Z = M + i / (i + 3) * (M - before)
        U, s, Vt = np.linalg.svd(np.where(known, X, Z), full_matrices=False)
        before, M = M, (U * np.maximum(s - penalty, 0)) @ Vt
    R = np.where(known, X - M, 0)
    R *= min(1, penalty / np.linalg.norm(R, 2))
    dual = 0.5 * np.nansum(np.square(X)) - 0.5 * np.nansum(np.square(X - R))
    value = objective(X, M, penalty)
    return value, value - dual


@pytest.mark.parametrize("share", [0.05, 0.3, 0.9])
def test_the_residual_meets_the_conditions_of_a_minimum(way, share, seed):
    X = incomplete(seed)
    observed = observed_of(X)
    penalty = share * largest_penalty(observed, rng=rng())
    found = soft_impute(observed, penalty, tol=1e-8, rng=rng(seed))
    assert found.converged
    assert found.gap <= 1e-8
    R = residual(X, found)
    # Of the residual scaled by c the gap is (1 - c)^2 ||R||^2 / 2, and what is below.
    most = 1.1e-8 * found.objective
    c = min(1, penalty / np.linalg.norm(R, 2))
    assert 1 - c <= np.sqrt(2 * most) / np.linalg.norm(R)
    inner = found.U.T @ R @ found.Vt.T
    through = np.diagonal(inner) @ found.singular_values
    assert abs(penalty * found.singular_values.sum() - c * through) <= most
    np.testing.assert_allclose(inner, penalty * np.eye(len(inner)), atol=1e-2 * penalty)


def test_the_objective_is_that_of_a_convex_reference(way, seed):
    X = incomplete(seed, 40, 30)
    observed = observed_of(X)
    penalty = 0.2 * largest_penalty(observed, rng=rng())
    value, gap = reference(X, penalty, 400)
    assert gap <= 1e-8 * value
    found = soft_impute(observed, penalty, rng=rng(seed))
    assert found.objective == pytest.approx(value, rel=1e-6)
    assert found.objective == pytest.approx(objective(X, matrix(found), penalty))
    assert found.gap <= 1e-6


@pytest.mark.parametrize("shape", [(60, 40), (40, 60), (300, 200)])
@DTYPES
def test_completely_observed_singular_values_shrink(shape, dtype, seed):
    X = rng(seed).standard_normal(shape).astype(dtype)
    U, s, Vt = np.linalg.svd(X, full_matrices=False)
    found = soft_impute(observed_of(X), 8.0, rng=rng())
    kept = s > 8
    eps = 100 * np.finfo(dtype).eps
    assert found.converged
    assert found.U.dtype == found.singular_values.dtype == found.Vt.dtype == dtype
    np.testing.assert_allclose(found.singular_values, s[kept] - 8, atol=eps * s[0])
    truth = (U[:, kept] * (s[kept] - 8)) @ Vt[kept]
    np.testing.assert_allclose(matrix(found), truth, atol=eps * s[0])


def test_the_largest_penalty_is_the_norm_of_the_zero_filled(seed):
    X = incomplete(seed)
    norm = np.linalg.norm(np.nan_to_num(X), 2)
    assert largest_penalty(observed_of(X), rng=rng(seed)) == pytest.approx(norm, rel=1e-9)


def test_from_the_largest_penalty_on_the_solution_is_zero(way):
    X = incomplete(0)
    observed = observed_of(X)
    largest = largest_penalty(observed, rng=rng())
    for penalty in (largest * (1 + 1e-9), 2 * largest):
        found = soft_impute(observed, penalty, rng=rng())
        assert found.converged
        assert found.U.shape == (80, 0)
        assert found.Vt.shape == (0, 60)
        assert found.objective == pytest.approx(0.5 * np.nansum(np.square(X)))
    assert len(soft_impute(observed, 0.99 * largest, rng=rng()).singular_values) == 1


def test_the_objective_never_rises(way, seed):
    observed = observed_of(incomplete(seed))
    found = soft_impute(observed, 3.0, rng=rng(seed))
    assert len(found.history) == found.n_iter + 1
    assert found.history[-1] == found.objective
    assert np.all(np.diff(found.history) <= 1e-12 * found.history[0])


def test_the_factors_are_orthonormal_and_in_order(way, seed):
    found = soft_impute(observed_of(incomplete(seed)), 3.0, rng=rng(seed))
    identity = np.eye(len(found.singular_values))
    np.testing.assert_allclose(found.U.T @ found.U, identity, atol=1e-12)
    np.testing.assert_allclose(found.Vt @ found.Vt.T, identity, atol=1e-12)
    assert np.all(np.diff(found.singular_values) <= 0)
    assert found.singular_values[-1] > 0


def test_the_gap_covers_the_error_at_a_loose_tolerance(way, seed):
    observed = observed_of(incomplete(seed))
    best = soft_impute(observed, 3.0, tol=1e-9, rng=rng()).objective
    for tol in (1e-1, 1e-2, 1e-4):
        found = soft_impute(observed, 3.0, tol=tol, rng=rng(seed))
        assert found.converged
        assert found.objective - best <= (found.gap + 1e-9) * found.objective
        assert found.gap <= tol


def test_a_path_has_the_solutions_of_its_penalties(way):
    observed = observed_of(incomplete(0))
    penalties = largest_penalty(observed, rng=rng()) * np.geomspace(1, 0.05, 5)
    path = list(soft_impute_path(observed, penalties, rng=rng()))
    assert len(path) == 5
    for penalty, found in zip(penalties, path, strict=True):
        alone = soft_impute(observed, penalty, rng=rng())
        assert found.converged
        assert found.objective == pytest.approx(alone.objective, rel=2e-6)


def test_a_solution_that_has_the_largest_rank_is_accepted_at_once():
    observed = observed_of(incomplete(0, 300, 250, 6, share=0.1, noise=0))
    penalty = 0.3 * largest_penalty(observed, rng=rng())
    best = soft_impute(observed, penalty, tol=1e-4, rng=rng())
    rank = len(best.singular_values)
    again = soft_impute(observed, penalty, tol=1e-3, max_rank=rank, start=best, rng=rng())
    assert again.converged
    assert again.n_iter == 0


def test_a_solution_is_where_its_own_search_ends(way):
    observed = observed_of(incomplete(0))
    found = soft_impute(observed, 3.0, rng=rng())
    again = soft_impute(observed, 3.0, start=found, rng=rng())
    assert again.n_iter <= 2
    assert again.objective == pytest.approx(found.objective, rel=1e-6)


def test_a_limit_of_the_rank_is_kept(way, seed):
    X = incomplete(seed)
    found = soft_impute(observed_of(X), 0.5, max_rank=4, rng=rng(seed))
    assert len(found.singular_values) == 4
    assert found.gap > 1e-3
    inner = found.U.T @ residual(X, found) @ found.Vt.T
    np.testing.assert_allclose(inner, 0.5 * np.eye(4), atol=0.05)


def test_neither_threads_nor_calls_change_the_numbers(monkeypatch):
    monkeypatch.setattr(module, "_SMALL", 0)
    X = incomplete(0, 160, 120)
    runs = [
        soft_impute(observed_of(X, n_jobs=n_jobs), 20.0, rng=rng()) for n_jobs in (1, 2, 2)
    ]
    for other in runs[1:]:
        for left, right in zip(runs[0], other, strict=True):
            np.testing.assert_array_equal(left, right)


def test_seeds_lead_to_the_same_minimum(monkeypatch):
    monkeypatch.setattr(module, "_SMALL", 0)
    observed = observed_of(incomplete(0))
    found = [soft_impute(observed, 3.0, tol=1e-9, rng=rng(seed)) for seed in range(3)]
    for other in found[1:]:
        assert other.objective == pytest.approx(found[0].objective, rel=2e-9)
        np.testing.assert_allclose(matrix(other), matrix(found[0]), atol=1e-3)


def test_single_precision_is_kept(way, seed):
    X = incomplete(seed)
    single = soft_impute(observed_of(X.astype(np.float32)), 3.0, rng=rng())
    double = soft_impute(observed_of(X), 3.0, rng=rng())
    assert single.U.dtype == single.singular_values.dtype == np.float32
    assert single.converged
    assert single.objective == pytest.approx(double.objective, rel=1e-5)


def test_a_report_can_stop_it(way):
    asked = []

    def report():
        asked.append(True)
        return len(asked) == 3

    found = soft_impute(observed_of(incomplete(0)), 1.0, rng=rng(), report=report)
    assert len(asked) == found.n_iter == 3
    assert not found.converged
    assert found.gap > 1e-6


def test_the_limit_of_steps_is_kept(way):
    found = soft_impute(observed_of(incomplete(0)), 1.0, max_iter=5, rng=rng())
    assert found.n_iter == 5
    assert not found.converged


def test_nothing_observed_or_only_zeros_is_zero(way):
    nothing = np.full((6, 5), np.nan)
    zeros = nothing.copy()
    zeros[:3, :3] = 0
    for X in (nothing, zeros):
        observed = observed_of(X)
        assert largest_penalty(observed, rng=rng()) == 0
        for found in (
            soft_impute(observed, 1.0, rng=rng()),
            iterative_svd(observed, 2, rng=rng()),
        ):
            assert found.converged
            assert found.objective == 0
            assert not matrix(found).any()


def test_rows_and_columns_without_an_entry_are_zero(way):
    X = incomplete(0)
    X[[3, 50]] = np.nan
    X[:, 7] = np.nan
    found = soft_impute(observed_of(X), 1.0, rng=rng())
    assert found.converged
    assert np.abs(matrix(found)[[3, 50]]).max() < 1e-6
    assert np.abs(matrix(found)[:, 7]).max() < 1e-6


@pytest.mark.parametrize("shape", [(1, 30), (30, 1), (1, 1)])
def test_a_vector_shrinks(way, shape):
    X = rng(0).standard_normal(shape) + 2
    X.ravel()[1::3] = np.nan
    norm = np.sqrt(np.nansum(np.square(X)))
    found = soft_impute(observed_of(X), 0.5, tol=1e-10, rng=rng())
    np.testing.assert_allclose(found.singular_values, [norm - 0.5])
    np.testing.assert_allclose(
        matrix(found), np.nan_to_num(X) * (1 - 0.5 / norm), atol=1e-4
    )


@pytest.mark.parametrize("noise", [0.0, 1e-3])
def test_a_well_sampled_matrix_is_recovered(way, noise, seed):
    X = incomplete(seed, share=0.6, noise=noise)
    full = incomplete(seed, share=1.0, noise=0.0)
    found = iterative_svd(observed_of(X), 4, tol=1e-7, rng=rng(seed))
    assert found.converged
    assert found.U.shape == (80, 4)
    error = np.linalg.norm(matrix(found) - full) / np.linalg.norm(full)
    assert error <= 1e-5 + noise


@pytest.mark.parametrize("shape", [(60, 40), (40, 60), (250, 200)])
def test_completely_observed_the_largest_singular_values_stay(shape, seed):
    X = rng(seed).standard_normal(shape)
    U, s, Vt = np.linalg.svd(X, full_matrices=False)
    found = iterative_svd(observed_of(X), 5, rng=rng())
    assert found.converged
    np.testing.assert_allclose(matrix(found), (U[:, :5] * s[:5]) @ Vt[:5], atol=1e-10)


def test_of_given_rank_it_stays_where_hard_thresholding_does(way, seed):
    X = incomplete(seed)
    found = iterative_svd(observed_of(X), 4, tol=1e-9, rng=rng(seed))
    filled = np.where(np.isnan(X), matrix(found), X)
    U, s, Vt = np.linalg.svd(filled)
    best = (U[:, :4] * s[:4]) @ Vt[:4]
    np.testing.assert_allclose(best, matrix(found), atol=1e-3 * s[0])
    assert np.all(np.diff(found.history) <= 1e-12 * found.history[0])
