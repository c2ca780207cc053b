import numpy as np
import pytest

from sklearn_rnla.linalg.completion import recommend
from sklearn_rnla.linalg.completion.recommend import top_n
from sklearn_rnla.operators.observed import Observed


@pytest.fixture(autouse=True)
def small_tiles(monkeypatch):
    monkeypatch.setattr(recommend, "_ROWS", 16)
    monkeypatch.setattr(recommend, "_COLUMNS", 50)


def factors(m, n, k, seed, dtype=np.float64):
    """Return factors of integers: their products are exact, and often equal."""
    rng = np.random.default_rng(seed)
    return (rng.integers(-3, 4, size=(size, k)).astype(dtype) for size in (m, n))


def some(m, n, density, seed):
    known = np.random.default_rng(seed).random((m, n)) < density
    return Observed.from_dense(np.where(known, 1.0, np.nan))


def reference(scores, n):
    order = np.argsort(-scores, axis=1, kind="stable")[:, :n]
    best = np.take_along_axis(scores, order, axis=1)
    order[best == -np.inf] = -1
    return order, best


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("n", [1, 2, 10, 70, 130])
def test_the_best_come_first_and_of_equals_the_lower_index(n, dtype, seed):
    U, V = factors(37, 130, 3, seed, dtype)
    indices, scores = top_n(U, V, n)
    assert scores.dtype == dtype
    assert scores.shape == indices.shape == (37, n)
    expected = reference(U @ V.T, n)
    np.testing.assert_array_equal(indices, expected[0])
    np.testing.assert_array_equal(scores, expected[1])


@pytest.mark.parametrize("density", [0.1, 0.9, 1.0])
def test_excluded_entries_are_skipped(density, seed):
    U, V = factors(37, 130, 3, seed)
    seen = some(37, 130, density, seed)
    scores = U @ V.T
    scores[seen.rows, seen.indices] = -np.inf
    found, expected = top_n(U, V, 20, exclude=seen), reference(scores, 20)
    np.testing.assert_array_equal(found[0], expected[0])
    np.testing.assert_array_equal(found[1], expected[1])


def test_columns_have_scores_of_their_own(seed):
    U, V = factors(37, 130, 3, seed)
    own = np.random.default_rng(seed).integers(20, size=130).astype(float)
    own[::3] = -np.inf
    found = top_n(U, V, 100, column_scores=own)
    expected = reference(U @ V.T + own, 100)
    np.testing.assert_array_equal(found[0], expected[0])
    np.testing.assert_array_equal(found[1], expected[1])


def test_rows_with_fewer_candidates_end_with_nothing():
    U, V = factors(5, 7, 2, 0)
    indices, scores = top_n(U, V, 9)
    assert np.all(indices[:, 7:] == -1)
    assert np.all(scores[:, 7:] == -np.inf)
    assert np.all(np.sort(indices[:, :7]) == np.arange(7))


def test_what_is_not_a_number_is_no_candidate():
    U, V = factors(5, 7, 2, 0)
    V[3] = np.nan
    indices, scores = top_n(U, V, 7)
    assert 3 not in indices
    assert not np.isnan(scores).any()


def test_threads_change_nothing(seed):
    rng = np.random.default_rng(seed)
    U, V = rng.standard_normal((100, 8)), rng.standard_normal((230, 8))
    seen = some(100, 230, 0.2, seed)
    one, two = (top_n(U, V, 10, exclude=seen, n_jobs=n_jobs) for n_jobs in (1, 2))
    np.testing.assert_array_equal(one[0], two[0])
    np.testing.assert_allclose(one[1], two[1], rtol=1e-12)


def test_no_rows_have_no_best():
    U, V = factors(0, 7, 2, 0)
    assert top_n(U, V, 3)[0].shape == (0, 3)
