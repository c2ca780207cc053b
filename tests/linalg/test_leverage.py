"""Leverage scores against those of dense factorisations."""

import dask.array as da
import numpy as np
import pytest
import scipy.sparse as sp

from sklearn_rnla.linalg import leverage_scores
from tests.matrices import coherent, deep, gallery, with_spectrum
from tests.sources import Lazy, on_disk, sparse_chunks

OF = pytest.mark.parametrize("of", ["rows", "columns"])
DTYPES = pytest.mark.parametrize("dtype", [np.float32, np.float64])


def of_rows(A, k=None):
    U, s, _ = np.linalg.svd(np.asarray(A, float), full_matrices=False)
    kept = s > max(A.shape) * np.finfo(A.dtype).eps * s[0]
    return np.sum(U[:, kept][:, :k] ** 2, axis=1)


def expected_scores(A, of, k=None):
    return of_rows(A if of == "rows" else A.T, k)


@OF
@DTYPES
def test_scores_are_those_of_the_singular_vectors(of, dtype, seed):
    for name, A in gallery(120, 30, dtype, seed):
        scores = leverage_scores(A, of=of)
        assert scores.shape == (120 if of == "rows" else 30,)
        tolerance = 100 * np.finfo(dtype).eps * np.linalg.cond(A.astype(float))
        np.testing.assert_allclose(scores, expected_scores(A, of), atol=tolerance)
        assert scores.min() >= 0
        assert scores.max() <= 1 + tolerance, name
        assert scores.sum() == pytest.approx(30, rel=tolerance)


def test_scores_are_the_diagonal_of_the_hat_matrix(seed):
    A = np.random.default_rng(seed).standard_normal((80, 9))
    hat = A @ np.linalg.solve(A.T @ A, A.T)
    np.testing.assert_allclose(leverage_scores(A), np.diagonal(hat), rtol=1e-10)
    # They are those of the span: the same for any basis of it.
    mixed = A @ np.random.default_rng(seed + 9).standard_normal((9, 9))
    np.testing.assert_allclose(leverage_scores(mixed), np.diagonal(hat), atol=1e-9)


@OF
@pytest.mark.parametrize("shape", [(60, 20), (20, 60), (30, 30)])
def test_their_sum_is_the_rank(of, shape, seed):
    for rank in (1, 4, 20):
        A = with_spectrum(np.arange(1.0, rank + 1), *shape, seed)
        for make in (np.asarray, sp.csr_array):
            scores = leverage_scores(make(A), of=of)
            assert scores.sum() == pytest.approx(rank)
            np.testing.assert_allclose(scores, expected_scores(A, of), atol=1e-9)
    assert not leverage_scores(np.zeros(shape), of=of).any()


@OF
@pytest.mark.parametrize("k", [1, 4, 10])
def test_leading_scores_are_those_of_the_leading_vectors(of, k, seed):
    A = with_spectrum(0.5 ** np.arange(12), 90, 40, seed)
    scores = leverage_scores(A, k, of=of, random_state=seed)
    np.testing.assert_allclose(scores, expected_scores(A, of, k), atol=1e-6)
    assert scores.sum() == pytest.approx(k)


def test_a_wide_range_of_singular_values_loses_nothing(seed):
    # Normal equations would lose all values below the root of eps.
    A, _ = deep(200, 12, digits=10, seed=seed)
    np.testing.assert_allclose(leverage_scores(A), of_rows(A), atol=1e-5)
    assert leverage_scores(A).sum() == pytest.approx(12)
    sketched = leverage_scores(A, method="sketched", random_state=seed)
    ratio = sketched / of_rows(A)
    assert np.mean(np.abs(ratio - 1) <= 0.6) >= 0.8


def test_a_row_unlike_all_others_has_a_score_of_one():
    A = np.zeros((50, 6))
    A[1:, :5] = np.random.default_rng(0).standard_normal((49, 5))
    A[0, 5] = 1e-3
    assert leverage_scores(A)[0] == pytest.approx(1)
    assert leverage_scores(A, of="columns")[5] == pytest.approx(1)
    assert leverage_scores(A, 1)[0] == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("make", [np.asarray, sp.csr_array])
def test_sketched_scores_are_within_their_accuracy_on_most_rows(make, seed):
    # 100 probes of a row, each a standard normal: the squared norm deviates by the root of
    # 2 / 100, some 14 %. The sketch of 4 rows for each column leaves a basis of condition
    # about 3 at most (the module's comment): a score is wrong by up to the square of
    # 1 +- 1 / 2, for few rows so much. "Some 30 %" is stated: it holds for half of the
    # rows, and twice that for 19 in 20.
    for A in (
        np.random.default_rng(seed).standard_normal((3000, 40)),
        coherent(3000, 40, seed),
    ):
        scores = leverage_scores(make(A), method="sketched", random_state=seed)
        exact = of_rows(A)
        deviation = np.abs(scores / exact - 1)
        assert np.mean(deviation <= 0.3) >= 0.5
        assert np.mean(deviation <= 0.6) >= 0.95
        assert scores.sum() == pytest.approx(40, rel=0.3)
        # Their order is mostly right.
        ranks = np.argsort(np.argsort(scores)), np.argsort(np.argsort(exact))
        assert np.corrcoef(*ranks)[0, 1] >= 0.7


def test_few_columns_are_not_projected(seed):
    # Fewer columns than probes: the scores are those of the sketched basis.
    A = np.random.default_rng(seed).standard_normal((2000, 5))
    scores = leverage_scores(A, method="sketched", random_state=seed)
    assert np.corrcoef(scores, of_rows(A))[0, 1] >= 0.8


def test_a_sketch_of_all_rows_is_not_made():
    A = np.random.default_rng(0).standard_normal((60, 20))
    for B in (A, A.T):
        np.testing.assert_allclose(leverage_scores(B, method="sketched"), of_rows(B))


def test_dependent_columns_change_no_score(seed):
    A = np.random.default_rng(seed).standard_normal((500, 6))
    wide = np.concatenate([A, A[:, :3] @ np.ones((3, 2)), np.zeros((500, 1))], axis=1)
    np.testing.assert_allclose(leverage_scores(wide), of_rows(A), atol=1e-10)
    sketched = leverage_scores(wide, method="sketched", random_state=seed)
    assert sketched.sum() == pytest.approx(6, rel=0.5)


SOURCES = {
    "list": lambda A, _: A.tolist(),
    "csr_matrix": lambda A, _: sp.csr_matrix(A),
    "csc_array": lambda A, _: sp.csc_array(A),
    "memmap": on_disk,
    "lazy": lambda A, _: Lazy(A),
    "dask": lambda A, _: da.from_array(A, chunks=(170, 7)),
    "dask sparse": lambda A, _: sparse_chunks(A, 170),
}
SPARSE = np.random.default_rng(0).standard_normal((400, 12))
SPARSE *= np.random.default_rng(1).random(SPARSE.shape) < 0.5


@pytest.mark.parametrize("make", SOURCES.values(), ids=SOURCES)
@OF
@pytest.mark.parametrize(
    ("k", "method"), [(None, "exact"), (None, "sketched"), (3, "exact")]
)
def test_every_source_gives_the_same_scores(make, of, k, method, tmp_path):
    params = {"of": of, "method": method, "random_state": 0}
    expected = leverage_scores(SPARSE, k, **params)
    scores = leverage_scores(make(SPARSE, tmp_path), k, **params)
    assert isinstance(scores, np.ndarray)
    np.testing.assert_allclose(scores, expected, atol=1e-4 if k else 1e-10)
    threaded = leverage_scores(make(SPARSE, tmp_path), k, n_jobs=2, **params)
    np.testing.assert_allclose(threaded, scores, atol=1e-4 if k else 1e-10)


def test_a_seed_decides_everything():
    first, same, other = (
        leverage_scores(SPARSE, method="sketched", random_state=s)
        for s in (3, np.int64(3), 4)
    )
    np.testing.assert_array_equal(first, same)
    assert not np.array_equal(first, other)
    # Exact scores do not depend on it.
    one, two = (leverage_scores(SPARSE, random_state=s) for s in (3, 4))
    np.testing.assert_array_equal(one, two)


NAN = np.where(np.eye(40, 5), np.nan, 1.0)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: leverage_scores(SPARSE, 0), "'n_components' parameter"),
        (lambda: leverage_scores(SPARSE, 13), "n_components=13 must be at most"),
        (lambda: leverage_scores(SPARSE, of="x"), "'of' parameter"),
        (lambda: leverage_scores(SPARSE, method="x"), "'method' parameter"),
        (lambda: leverage_scores(iter([SPARSE])), "can be read only once"),
        (lambda: leverage_scores(NAN), "NaN"),
        (lambda: leverage_scores(Lazy(NAN)), "NaN|infinity"),
        (lambda: leverage_scores(Lazy(NAN), 2), "NaN|infinity"),
        (lambda: leverage_scores(Lazy(NAN), method="sketched"), "NaN|infinity"),
        (lambda: leverage_scores(Lazy(NAN), of="columns"), "NaN|infinity"),
        (lambda: leverage_scores(SPARSE[0]), "Expected 2D array"),
    ],
)
def test_bad_input_is_refused_with_the_reason(call, message):
    with pytest.raises(ValueError, match=message):
        call()
