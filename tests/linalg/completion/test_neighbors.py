"""Facts about missing entries corrected by the nearest rows."""

import numpy as np
import pytest

from sklearn_rnla.linalg.completion import neighbors as module
from sklearn_rnla.linalg.completion.em import ppca
from sklearn_rnla.linalg.completion.neighbors import fit_neighbors, refine


def _clusters(n=600, p=12, n_clusters=15, share=0.3, seed=0, dtype=np.float64):
    """Return rows about few centers, more of them than columns, with missing entries."""
    rng = np.random.default_rng(seed)
    centers = rng.standard_normal((n_clusters, p))
    X = centers[rng.integers(n_clusters, size=n)] + 0.1 * rng.standard_normal((n, p))
    Y = np.where(rng.random((n, p)) < share, np.nan, X)
    return X.astype(dtype), Y.astype(dtype)


def _fit(X, seed=0, n_jobs=None):
    rng = np.random.default_rng(seed)
    result = ppca(X, rng=rng, n_jobs=n_jobs)
    return result, fit_neighbors(X, result, rng=rng, n_jobs=n_jobs)[0]


def _rms(errors):
    return np.sqrt(np.mean(np.square(errors)))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_neighbors_help_where_rows_are_in_clusters(dtype):
    X, Y = _clusters(dtype=dtype)
    result, neighbors = _fit(Y)
    refined = refine(neighbors, Y, result.filled)
    missing = np.isnan(Y)
    assert _rms((refined - X)[missing]) < 0.7 * _rms((result.filled - X)[missing])
    assert refined.dtype == dtype
    np.testing.assert_array_equal(refined[~missing], Y[~missing])


def test_new_rows_are_corrected_like_those_of_the_table():
    X, Y = _clusters(n=900)
    new, truth = Y[600:], X[600:]
    result, neighbors = _fit(Y[:600])
    filled = result.gaussian.fill(new)
    refined = refine(neighbors, new, filled)
    missing = np.isnan(new)
    assert _rms((refined - truth)[missing]) < 0.7 * _rms((filled - truth)[missing])


def test_there_are_none_where_a_linear_model_is_best():
    rng = np.random.default_rng(0)
    X = rng.standard_normal((600, 2)) @ rng.standard_normal((2, 8))
    X += 0.3 * rng.standard_normal(X.shape)
    X[rng.random(X.shape) < 0.3] = np.nan
    assert _fit(X)[1] is None


@pytest.mark.parametrize("n", [1, 2, 3, 30])
def test_small_tables_have_neighbors_or_none(n):
    _, X = _clusters(n)
    result, neighbors = _fit(X)
    if neighbors is not None:
        assert np.isfinite(refine(neighbors, X, result.filled)).all()


def test_equal_rows_tell_the_missing_entry():
    X, _ = _clusters(n=100, share=0)
    X = np.vstack([X] * 6)
    Y = X.copy()
    Y[::7, 0] = np.nan
    result, neighbors = _fit(Y)
    refined = refine(neighbors, Y, result.filled)
    assert _rms((refined - X)[::7, 0]) < 0.8 * _rms((result.filled - X)[::7, 0])


def test_a_row_tells_itself_nothing():
    _, X = _clusters()
    result, neighbors = _fit(X)
    without = neighbors._replace(
        **{
            name: getattr(neighbors, name)[1:]
            for name in ("reference", "missing", "residuals")
        }
    )
    one, other = (refine(n, X[:1], result.filled[:1]) for n in (neighbors, without))
    # But that it takes the place of the furthest neighbour.
    shift = _rms(one - result.filled[:1])
    assert _rms(one - other) < 0.1 * shift


def test_nearest_rows_are_those_of_all_distances():
    from sklearn_rnla._kernels.neighbors import nearest

    rng = np.random.default_rng(0)
    X = rng.standard_normal((50, 5))
    found = np.empty((50, 7), np.int32)
    nearest(np.square(X).sum(axis=1) / 2 - X @ X.T, np.arange(50), found)
    distances = np.linalg.norm(X[:, np.newaxis] - X, axis=2)
    np.fill_diagonal(distances, np.inf)
    np.testing.assert_array_equal(found, np.argsort(distances, axis=1)[:, :7])


def test_an_average_leaves_out_what_neighbors_do_not_have():
    from sklearn_rnla._kernels.neighbors import average

    query, wanted = np.zeros((1, 2)), np.array([[True, True]])
    reference = np.array([[1.0, 0.0], [-1.0, 2.0], [0.0, 1.0]])
    missing = np.array([[False, True], [False, True], [False, True]])
    residuals = np.array([[3.0, 9.0], [0.0, 9.0], [0.0, 9.0]])
    values, of_residuals = np.empty((1, 2)), np.empty((1, 2))
    found = np.array([[0, 2]])
    known = np.ones((1, 2))
    settings = reference, missing, residuals, 0.0, values, of_residuals
    average(found, query, known, wanted, *settings)
    # Two of equal weight, and nothing as a third.
    np.testing.assert_allclose(values, [[1 / 3, 0]])
    np.testing.assert_allclose(of_residuals, [[1.0, 0]])


def test_threads_and_blocks_change_nothing_but_rounding(monkeypatch):
    _, X = _clusters()
    result, neighbors = _fit(X)
    one = refine(neighbors, X, result.filled, n_jobs=1)
    monkeypatch.setattr(module, "_BLOCK", 2**14)
    two = refine(neighbors, X, result.filled, n_jobs=2)
    np.testing.assert_allclose(one, two, rtol=1e-4, atol=1e-4)
    _, other = _fit(X, n_jobs=2)
    np.testing.assert_allclose(other.weights, neighbors.weights, rtol=1e-3)


def test_a_sample_of_rows_is_enough_reference(monkeypatch):
    X, Y = _clusters(n=1200)
    monkeypatch.setattr(module, "_ROWS", 400)
    result, neighbors = _fit(Y)
    assert len(neighbors.reference) == 400
    refined = refine(neighbors, Y, result.filled)
    missing = np.isnan(Y)
    assert _rms((refined - X)[missing]) < 0.7 * _rms((result.filled - X)[missing])
