from math import comb

import numpy as np
import pytest

from sklearn_rnla.linalg.completion import exact
from sklearn_rnla.linalg.completion.exact import recover
from sklearn_rnla.operators.observed import Observed

# Of the tests that draw which entries are seen, the probability that some row or column
# has fewer than rank + 1 of them, for one seed.
FAILURE = 1e-3


def factors(m, n, rank, seed, condition=1.0):
    rng = np.random.default_rng(seed)
    Q, P = (np.linalg.qr(rng.standard_normal((size, rank)))[0] for size in (m, n))
    return Q * np.geomspace(1, 1 / condition, rank) * np.sqrt(m * n), P


def probability(m, n, rank):
    """Return that of an entry, by a union bound of binomial tails over rows and columns."""

    def few(size, p):
        return sum(comb(size, k) * p**k * (1 - p) ** (size - k) for k in range(rank + 1))

    return next(
        p for p in np.arange(0.01, 1, 0.01) if m * few(n, p) + n * few(m, p) <= FAILURE
    )


def observe(U, V, seed, p=None, dtype=np.float64, **params):
    M = U @ V.T
    if p is None:
        p = probability(*M.shape, U.shape[1])
    seen = np.random.default_rng(seed + 100).random(M.shape) < p
    return Observed.from_dense(np.where(seen, M, np.nan).astype(dtype), **params)


def run(observed, rank, seed=0, **params):
    return recover(observed, rank, rng=np.random.default_rng(seed), **params)


def error(result, M):
    return np.linalg.norm(result.U @ result.V.T - M) / np.linalg.norm(M)


@pytest.mark.parametrize(
    ("shape", "rank", "condition"),
    [
        ((120, 120), 1, 1),
        ((120, 120), 4, 1),
        ((120, 120), 4, 100),
        ((60, 300), 3, 1),
        ((300, 60), 3, 10),
    ],
)
def test_the_whole_matrix_follows_from_some_entries(shape, rank, condition, seed):
    U, V = factors(*shape, rank, seed, condition)
    observed = observe(U, V, seed)
    result = run(observed, rank)
    assert result.converged
    assert result.residual <= 1e-10
    assert all(known.all() for known in result.determined)
    assert error(result, U @ V.T) <= 1e-6


def test_rows_of_very_different_size_are_recovered(seed):
    U, V = factors(120, 120, 3, seed)
    U[:6] *= 10
    V[:6] *= 10
    result = run(observe(U, V, seed), 3)
    assert error(result, U @ V.T) <= 1e-6


@pytest.mark.parametrize("shape", [(30, 20), (5, 40), (3, 3)])
def test_nothing_is_lost_of_a_matrix_seen_in_full(shape, seed):
    U, V = factors(*shape, 3, seed)
    result = run(Observed.from_dense(U @ V.T), 3)
    assert result.converged
    assert all(known.all() for known in result.determined)
    assert error(result, U @ V.T) <= 1e-9


def test_factors_are_balanced_and_ordered():
    result = run(observe(*factors(80, 50, 3, 0, 10), 0), 3)
    gram = result.U.T @ result.U
    scale = gram[0, 0]
    np.testing.assert_allclose(result.V.T @ result.V, gram, atol=1e-12 * scale)
    np.testing.assert_allclose(gram, np.diag(np.diag(gram)), atol=1e-12 * scale)
    assert np.all(np.diff(np.diag(gram)) <= 0)


def test_what_has_no_entries_is_zero_and_undetermined(seed):
    U, V = factors(100, 80, 3, seed)
    M = U @ V.T
    seen = np.random.default_rng(seed).random(M.shape) < probability(100, 80, 3)
    seen[7] = seen[:, 9] = False
    result = run(Observed.from_dense(np.where(seen, M, np.nan)), 3)
    assert result.converged
    assert not result.U[7].any()
    assert not result.V[9].any()
    rows, columns = result.determined
    np.testing.assert_array_equal(np.flatnonzero(~rows), [7])
    np.testing.assert_array_equal(np.flatnonzero(~columns), [9])
    assert error(result, M * np.outer(rows, columns)) <= 1e-6


def test_a_row_of_fewer_entries_than_the_rank_spoils_no_other(seed):
    U, V = factors(100, 80, 4, seed)
    M = U @ V.T
    seen = np.random.default_rng(seed).random(M.shape) < probability(100, 80, 4)
    seen[7] = False
    seen[7, :3] = True
    result = run(Observed.from_dense(np.where(seen, M, np.nan)), 4)
    assert result.converged
    others = np.arange(100) != 7
    np.testing.assert_array_equal(result.determined[0], others)
    found = (result.U @ result.V.T)[others]
    assert np.linalg.norm(found - M[others]) <= 1e-6 * np.linalg.norm(M)


def test_entries_of_a_row_of_exactly_the_rank_are_enough(seed):
    U, V = factors(100, 80, 4, seed)
    seen = np.random.default_rng(seed).random((100, 80)) < probability(100, 80, 4)
    seen[7] = False
    seen[7, :4] = True
    result = run(Observed.from_dense(np.where(seen, U @ V.T, np.nan)), 4)
    assert result.determined[0][7]
    assert error(result, U @ V.T) <= 1e-6


def test_separate_blocks_say_nothing_of_each_other(seed):
    M = np.full((60, 50), np.nan)
    U, V = factors(60, 50, 2, seed)
    M[:40, :30] = (U @ V.T)[:40, :30]
    M[40:, 30:] = (U @ V.T)[40:, 30:]
    rows, columns = run(Observed.from_dense(M), 2).determined
    np.testing.assert_array_equal(rows, np.arange(60) < 40)
    np.testing.assert_array_equal(columns, np.arange(50) < 30)


def test_a_rank_more_than_that_of_the_matrix_fits_too(seed):
    U, V = factors(40, 30, 2, seed)
    result = run(Observed.from_dense(U @ V.T), 4, tol=1e-9)
    assert result.converged
    assert error(result, U @ V.T) <= 1e-8


def test_noise_is_not_fitted_away(seed):
    U, V = factors(120, 100, 3, seed)
    observed = observe(U, V, seed, p=0.5)
    noise = 0.1 * np.random.default_rng(seed).standard_normal(observed.nnz)
    result = run(observed.with_values(observed.values + noise), 3)
    assert not result.converged
    assert result.n_iter < 1000
    # Least squares leaves no more than the noise, and no less than it has outside of the
    # degrees of freedom, but for a deviation of a chi square of so many standard ones.
    freedom = observed.nnz - 3 * (120 + 100 - 3)
    left = (result.residual * np.linalg.norm(observed.values + noise) / 0.1) ** 2
    deviations = np.sqrt(-4 * np.log(FAILURE) * freedom)
    assert freedom - deviations <= left <= 1.001 * np.square(noise / 0.1).sum()
    # An even share of the noise for each degree of freedom, twice as much at p = 0.5.
    assert error(result, U @ V.T) <= 2 * 0.1 * np.sqrt(
        2 * 3 * (120 + 100 - 3)
    ) / np.linalg.norm(U @ V.T)


def test_zeros_are_recovered_as_zeros():
    result = run(Observed.from_dense(np.zeros((6, 5))), 2)
    assert result.converged
    assert result.n_iter == 0
    assert not result.U.any()
    assert not result.V.any()


def test_nothing_seen_is_zeros_and_undetermined():
    result = run(Observed.from_dense(np.full((6, 5), np.nan)), 2)
    assert not result.U.any()
    assert not result.determined[1].any()


def test_threads_do_not_change_the_result(monkeypatch):
    monkeypatch.setattr(exact, "_THREADED", 0)
    U, V = factors(300, 300, 3, 0)
    one, two = (run(observe(U, V, 0, p=0.4, n_jobs=n), 3) for n in (1, 2))
    assert len(observe(U, V, 0, p=0.4).lanes) > 1
    np.testing.assert_array_equal(one.U, two.U)
    np.testing.assert_array_equal(one.V, two.V)
    assert one.history == two.history


def test_float32_entries_are_fitted_to_their_precision(seed):
    U, V = factors(120, 100, 3, seed)
    result = run(observe(U, V, seed, dtype=np.float32), 3)
    assert result.converged
    assert result.U.dtype == np.float64
    assert result.residual <= np.finfo(np.float32).eps
    assert error(result, U @ V.T) <= 10 * np.finfo(np.float32).eps


def test_the_residual_falls_and_at_last_quadratically(seed):
    observed = observe(*factors(120, 100, 3, seed), seed)
    result = run(observed, 3, tol=1e-12)
    assert len(result.history) == result.n_iter
    assert np.all(np.diff(result.history) <= 0)
    assert result.history[-1] <= 1e-2 * result.history[-2]


def test_scale_and_orientation_do_not_matter(seed):
    U, V = factors(80, 120, 3, seed)
    observed = observe(U, V, seed)
    M = U @ V.T
    tiny = run(observed.with_values(1e-150 * observed.values), 3)
    assert error(tiny, 1e-150 * M) <= 1e-6
    assert error(run(observed.T, 3), M.T) <= 1e-6


def test_limits_and_reports_stop_it():
    observed = observe(*factors(80, 60, 3, 0), 0)
    limited = run(observed, 3, max_iter=5)
    assert limited.n_iter == len(limited.history) == 5
    assert not limited.converged
    asked = []

    def report():
        asked.append(True)
        return len(asked) == 3

    assert run(observed, 3, report=report).n_iter == len(asked) == 3


def test_entries_are_left_as_they_were():
    observed = observe(*factors(40, 30, 2, 0), 0)
    before = observed.values.copy()
    run(observed, 2)
    np.testing.assert_array_equal(observed.values, before)
