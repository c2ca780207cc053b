"""Copies of a row are as its weight, in whatever order the rows come."""

import numpy as np
import pytest
import scipy.sparse as sp

from sklearn_rnla.linalg.nystroem.distinct import distinct_rows
from sklearn_rnla.linalg.nystroem.landmarks import choose_landmarks
from sklearn_rnla.operators.kernels import Kernel

METHODS = ["rpcholesky", "greedy", "uniform", "leverage", "kmeans"]


def weighted_and_repeated(n, n_features, dtype, make=np.asarray):
    """Return rows and weights, some of which are zero, and the rows so often, shuffled."""
    rng = np.random.default_rng(0)
    X = rng.standard_normal((n, n_features)).astype(dtype)
    # Rows that agree in most columns, zeros of both signs, and copies that are there.
    X[:5] = X[0]
    X[:4, -1] = 0.0, -0.0, 1.0, 2.0
    weight = rng.integers(0, 4, n).astype(float)
    repeated = rng.permutation(np.repeat(X, weight.astype(int), axis=0))
    return make(X), weight, make(repeated)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("n_features", [1, 3, 40])
@pytest.mark.parametrize("make", [np.asarray, np.asfortranarray, sp.csr_array])
def test_weights_are_copies_in_any_order(make, n_features, dtype):
    X, weight, repeated = weighted_and_repeated(500, n_features, dtype, make)
    rows, total = distinct_rows(X, weight)
    of_copies, count = distinct_rows(repeated, None)
    np.testing.assert_array_equal(total, count)
    dense = [A.toarray() if sp.issparse(A) else A for A in (X[rows], repeated[of_copies])]
    np.testing.assert_array_equal(*dense)
    some = X[weight > 0]
    assert len(rows) == len(np.unique(some.toarray() if sp.issparse(X) else some, axis=0))


def test_small_integers_are_told_apart():
    X = np.stack(np.meshgrid(*[np.arange(20.0)] * 4), axis=-1).reshape(-1, 4)
    for dtype in (np.float32, np.float64):
        assert len(distinct_rows(X.astype(dtype), None)[0]) == len(X)


@pytest.mark.parametrize("tol", [0.0, 0.2])
@pytest.mark.parametrize("n", [60, 2000])
@pytest.mark.parametrize("method", METHODS)
def test_landmarks_of_weighted_rows_are_those_of_copies(method, n, tol, seed):
    X, weight, repeated = weighted_and_repeated(n, 4, float)
    kernel, options = (
        Kernel("rbf", {"gamma": 0.3}),
        {"tol": tol if method != "kmeans" else 0},
    )
    chosen, of_copies = (
        choose_landmarks(
            kernel.matrix(A, 1), A, 40, method, rng=np.random.default_rng(seed), **more
        )
        for A, more in ((X, {"weight": weight} | options), (repeated, options))
    )
    np.testing.assert_allclose(chosen.points, of_copies.points, rtol=0, atol=1e-12)
    if method != "kmeans":
        assert weight[chosen.indices].all()
    if chosen.cholesky is not None:
        error = of_copies.cholesky.relative_error
        assert chosen.cholesky.relative_error == pytest.approx(error, rel=1e-9)


def test_rows_are_drawn_in_proportion_to_their_weights():
    X = np.random.default_rng(0).standard_normal((50, 2))
    weight = np.where(np.arange(50) < 10, 9.0, 1.0)
    A, drawn = Kernel("rbf", {"gamma": 1e-9}).matrix(X, 1), []
    for seed in range(400):
        rng = np.random.default_rng(seed)
        drawn.append(
            choose_landmarks(A, X, 1, "uniform", weight=weight, rng=rng).indices[0]
        )
    # 90 of 130 parts; four standard errors are 0.093.
    assert abs(np.mean(np.array(drawn) < 10) - 90 / 130) < 0.093
