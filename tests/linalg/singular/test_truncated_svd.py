"""Krylov iteration, Gram matrices and the choice between them."""

import numpy as np
import pytest
import scipy.sparse as sp
from numpy.testing import assert_allclose

from sklearn_rnla._random import stream
from sklearn_rnla.linalg.singular.block_krylov import block_krylov
from sklearn_rnla.linalg.singular.gram import gram_svd
from sklearn_rnla.linalg.singular.rank_rules import FixedRank
from sklearn_rnla.linalg.singular.row_gram import WideSparse
from sklearn_rnla.linalg.singular.starts import SplitSample, draw_rows
from sklearn_rnla.linalg.singular.truncated_svd import Plan, Settings, right_svd
from sklearn_rnla.operators import CenteredMatrix, as_row_matrix
from tests.invariants import assert_decreasing, assert_orthonormal_rows, excess
from tests.matrices import coherent, deep, gallery, with_spectrum


def matrix(A, center=False):
    return CenteredMatrix(as_row_matrix(A), center=center)


@pytest.mark.parametrize("shape", [(300, 40), (40, 300)])
@pytest.mark.parametrize("center", [True, False])
@pytest.mark.parametrize("make", [np.asarray, sp.csr_array])
def test_gram_is_exact_tall_and_wide(shape, center, make):
    rng = np.random.default_rng(0)
    for name, A in gallery(*shape):
        B = A - A.mean(axis=0) if center else A
        s = np.linalg.svd(B, compute_uv=False)
        result = gram_svd(matrix(make(A), center), 10, rng=rng)
        assert_orthonormal_rows(result.components)
        error = np.abs(result.singular_values[:10] - s[:10]).max()
        assert error <= 1e-10 * s[0], name


@pytest.mark.parametrize("algorithm", ["gram", "krylov", "subspace"])
@pytest.mark.parametrize("shape", [(900, 60), (60, 900)])
def test_singular_values_over_ten_orders_are_accurate_to_rounding(algorithm, shape, seed):
    A, s = deep(max(shape), min(shape), seed=seed)
    A = A if shape[0] > shape[1] else A.T.copy()
    _, result = right_svd(
        matrix(A),
        FixedRank(min(shape)),
        Settings(algorithm),
        rng=np.random.default_rng(seed),
    )
    assert np.abs(result.singular_values[: len(s)] - s).max() <= 1e-10 * s[0]
    assert_orthonormal_rows(result.components)


@pytest.mark.parametrize("algorithm", ["krylov", "subspace"])
@pytest.mark.parametrize("center", [True, False])
@pytest.mark.parametrize("sketch", ["row_sampling", "gaussian", "sparse_sign", "srtt"])
def test_iteration_stops_within_the_tolerance(algorithm, center, sketch, seed):
    for name, A in gallery(1000, 100, seed=seed):
        _, result = right_svd(
            matrix(A, center),
            FixedRank(8),
            Settings(algorithm, tol=1e-2, max_passes=60, sketch=sketch),
            rng=np.random.default_rng(seed),
        )
        assert result.converged, name
        assert result.error_estimate <= 1e-2
        assert_decreasing(result.singular_values)
        assert_orthonormal_rows(result.components)
        # Every estimate has its failures; a factor of two bounds them here.
        assert excess(A, result.components[:8], 8, center) <= 2e-2, name


def test_coherent_rows_are_not_missed(seed):
    A = coherent(3000, 100, seed)
    _, result = right_svd(
        matrix(A), FixedRank(5), Settings("krylov"), rng=np.random.default_rng(seed)
    )
    assert excess(A, result.components[:5], 5, False) <= 2e-3


def test_auto_takes_the_gram_matrix_of_few_features_and_iterates_on_many():
    rng = np.random.default_rng(0)
    few, many = matrix(rng.standard_normal((2000, 20))), None
    right_svd(few, FixedRank(3), rng=rng)
    assert few.n_passes == 1
    s = 0.7 ** np.arange(300)
    A = (rng.standard_normal((6000, 300)) * s).astype(np.float32)
    A = np.concatenate([A, np.zeros((6000, 1500), np.float32)], axis=1)
    many = matrix(A)
    _, result = right_svd(many, FixedRank(5), rng=rng)
    assert result.error_estimate > 1e-6 or many.n_passes > 1
    assert excess(A[:, :300], result.components[:5, :300], 5, False) <= 2e-3


def test_an_iteration_is_abandoned_only_where_the_exact_solution_would_do_better():
    def abandons(budget, converged=False, stalled=False):
        plan = Plan(width=16, max_passes=20, budget=budget)
        return plan.abandons(converged=converged, stalled=stalled)

    assert abandons(5)
    assert not abandons(5, converged=True)
    # The user's limit ended it, and its result is what was asked for.
    assert not abandons(30)
    # More passes would be rounding.
    assert abandons(30, stalled=True)
    assert not abandons(np.inf, stalled=True)


def test_an_invariant_start_ends_the_iteration():
    A = matrix(np.diag([5.0, 4.0, 0.0, 0.0]))
    result = block_krylov(A, np.eye(2, 4), 2, tol=0.0, max_passes=20)
    assert result.lost
    np.testing.assert_allclose(result.singular_values, [5, 4])


@pytest.mark.parametrize("rank", [2, 10])
@pytest.mark.parametrize("more", [0, 1])
def test_exactly_low_rank_is_found_to_rounding(rank, more, seed):
    # So many rows that a sample of them is drawn.
    A = with_spectrum(np.linspace(2, 1, rank), 1000, 300, seed=seed)
    rows = CenteredMatrix(as_row_matrix(A), center=False)
    settings = Settings("krylov")
    _, found = right_svd(rows, FixedRank(rank + more), settings, rng=stream(seed))
    expected = np.append(np.linspace(2, 1, rank), np.zeros(more))
    assert_allclose(found.singular_values[: rank + more], expected, atol=1e-12)


def test_an_invariant_start_beside_a_huge_direction_ends_the_iteration(seed):
    # What is left of the residuals is rounding of the first, not of the others.
    n = 900
    s = np.arange(1, n + 1) ** -0.5
    s[0] = 3e6
    A = matrix(with_spectrum(s, n, n, seed=seed))
    start = np.linalg.svd(A.rows.in_memory())[2][:20]
    sample = SplitSample(A, draw_rows(A.row_energies, 200, stream(seed)), stream(seed))
    found = block_krylov(A, start, 12, tol=1e-3, max_passes=5, sample=sample)
    assert found.stalled
    assert found.error_estimate > 1e-3
    assert_orthonormal_rows(found.components)


def test_a_report_can_stop_the_iteration():
    rng = np.random.default_rng(0)
    A = matrix(rng.standard_normal((500, 100)))
    A.report = lambda: True
    result = block_krylov(A, np.eye(10, 100), 5, tol=0.0, max_passes=20)
    assert A.n_passes <= 2
    assert not result.converged


@pytest.mark.parametrize("max_passes", [1, 2, 3, 5, 20])
@pytest.mark.parametrize("make", [np.asarray, sp.csr_array])
@pytest.mark.parametrize("shape", [(1200, 300), (300, 1200)])
def test_every_pass_is_counted_and_told_and_no_more_are_made(
    make, shape, max_passes, monkeypatch, seed
):
    # One more pass finds the moments, or which rows a sample must not miss.
    monkeypatch.setattr("sklearn_rnla.linalg.singular.truncated_svd._LARGEST_GRAM", 0)
    reports, products = [], []

    def counted(product):
        def call(A, V):
            if A.shape in (shape, shape[::-1]):
                products.append(V)
            return product(A, V)

        return call

    for of in (CenteredMatrix, WideSparse):
        for name in ("gram_product", "projected_gram"):
            monkeypatch.setattr(of, name, counted(getattr(of, name)))
    noise = np.random.default_rng(seed).standard_normal(shape)
    noise[np.abs(noise) < 1.5] = 0
    for A in (noise, noise * np.arange(1.0, shape[1] + 1) ** -0.5):
        reports.clear()
        products.clear()
        rows = as_row_matrix(make(A))
        matrix = CenteredMatrix(rows, report=lambda: reports.append(1))
        right_svd(matrix, FixedRank(5), Settings(max_passes=max_passes), rng=stream(seed))
        # Of wide sparse rows, another one returns to the long side, and one fits values.
        returns = make is sp.csr_array and 2 * shape[0] <= shape[1]
        assert len(products) <= max_passes + returns
        assert matrix.n_passes == len(reports) == 1 + len(products) + returns


@pytest.mark.parametrize("algorithm", ["krylov", "subspace"])
def test_the_estimate_covers_what_falls_as_slowly_as_it_can(algorithm, seed):
    # No gap and no decay: each pass gains little less than the one before.
    s = np.sqrt(1.01 - (np.arange(1, 301) / 300) ** 2)
    for shape in ((300, 1500), (400, 300)):
        A = with_spectrum(s, *shape, seed=seed)
        rng = np.random.default_rng(seed)
        _, found = right_svd(matrix(A), FixedRank(20), Settings(algorithm), rng=rng)
        assert excess(A, found.components[:20], 20, False) <= found.error_estimate


@pytest.mark.parametrize("make", [np.asarray, sp.csr_array])
@pytest.mark.parametrize("algorithm", ["gram", "auto"])
def test_what_rounding_hides_of_wide_data_is_no_error_of_zero(make, algorithm):
    rng = np.random.default_rng(0)
    A = rng.standard_normal((100, 600)).astype(np.float32)
    A[7] *= 1e9
    _, found = right_svd(matrix(make(A)), FixedRank(5), Settings(algorithm), rng=rng)
    V = np.linalg.qr(found.components[:5].T.astype(float))[0].T
    assert excess(A, V, 5, False) <= found.error_estimate


@pytest.mark.parametrize("name", ["exp(-i^1/2)", "heavy tails"])
def test_the_estimate_covers_what_the_noise_of_a_row_sample_loses(name):
    # Few pairs of directions make up most of the loss, so that it varies as a sum of few
    # squares does: a mean of such losses is exceeded too often. 95 % are to be covered.
    if name == "heavy tails":
        A = np.random.default_rng(0).standard_t(1, (2000, 100))
    else:
        A = with_spectrum(np.exp(-np.sqrt(np.arange(1.0, 101))), 2000, 100)
    best, n_failed = np.sum(np.linalg.svd(A, compute_uv=False)[8:] ** 2), 0
    for seed in range(20):
        rng = np.random.default_rng(seed)
        _, found = right_svd(matrix(A), FixedRank(8), Settings("krylov"), rng=rng)
        V = found.components[:8]
        error = np.sqrt(np.sum((A - A @ V.T @ V) ** 2) / best) - 1
        n_failed += error > found.error_estimate
    assert n_failed <= 1


def test_subspace_iteration_of_noise_ends_and_states_no_more_than_ten_times_its_error(seed):
    # What a sample of the rows sees ahead is its own noise: the passes made tell more.
    A = np.random.default_rng(seed).standard_normal((2000, 200))
    settings = Settings("subspace", max_passes=40)
    _, found = right_svd(matrix(A), FixedRank(8), settings, rng=np.random.default_rng(seed))
    error = excess(A, found.components[:8], 8, False)
    assert found.converged
    assert error <= found.error_estimate <= 10 * error


def test_single_precision_rows_that_are_wide_have_accurate_leading_values():
    rng = np.random.default_rng(0)
    A = rng.binomial(2, rng.uniform(0.05, 0.5, 2000), (200, 2000)).astype(np.float32)
    found = gram_svd(CenteredMatrix(as_row_matrix(A)), 10, rng=rng)
    s = np.linalg.svd(A - A.mean(axis=0, dtype=float), compute_uv=False)[:10]
    np.testing.assert_allclose(found.singular_values[:10], s, rtol=1e-6)
