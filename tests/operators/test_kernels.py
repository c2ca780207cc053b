"""Kernel values by tiles against scikit-learn's."""

import pickle
from itertools import product

import numpy as np
import pytest
import scipy.sparse as sp
from sklearn.gaussian_process.kernels import RBF, ConstantKernel, DotProduct, Matern
from sklearn.metrics.pairwise import PAIRWISE_KERNEL_FUNCTIONS, pairwise_kernels

from sklearn_rnla.operators import kernels, threads
from sklearn_rnla.operators.feature_map import FeatureMap, features
from sklearn_rnla.operators.kernels import Kernel, PrecomputedKernel
from sklearn_rnla.operators.psd_matrix import KernelMatrix
from tests.invariants import assert_close_to_scale

RNG = np.random.default_rng(0)
B = RNG.random((150, 6)) * (RNG.random((150, 6)) < 0.6)
B[7] = 0
Z = np.vstack([B[:5], RNG.random((15, 6))])
SIGNED = RNG.standard_normal((150, 6))

NAMES = sorted(PAIRWISE_KERNEL_FUNCTIONS)
DENSE_ONLY = {"chi2", "additive_chi2"}
PARAMS = [
    {},
    {"gamma": 0.3, "degree": 2, "coef0": 0.5},
    {"gamma": 2.0, "degree": 1, "coef0": 0},
    {"gamma": 0.1, "degree": 5, "coef0": 2},
    {"gamma": 0.5, "degree": 2.5, "coef0": 1},
]


def values_of(metric, X, Y, params):
    return pairwise_kernels(X, Y, metric=metric, filter_params=True, **params)


def linear_and_count(x, y, power=1):
    return (x @ y) ** power + np.count_nonzero(x * y)


GAUSSIAN_PROCESS = [
    RBF(0.7),
    Matern(np.arange(1.0, 7), nu=1.5) + ConstantKernel(0.5),
    2.0 * RBF(0.5) * DotProduct(),
]
CALLABLES = [linear_and_count, *GAUSSIAN_PROCESS]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("params", PARAMS, ids=str)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_every_name_agrees_with_scikit_learn(name, params, dtype):
    signed = [] if name in DENSE_ONLY or params.get("degree") == 2.5 else [SIGNED]
    for rows in (B, *signed):
        rows, points = rows.astype(dtype), Z.astype(dtype)
        expected = values_of(name, rows.astype(float), points.astype(float), params)
        kernel = Kernel(name, params)
        values = kernel.at(points)(rows, dtype)
        assert values.dtype == dtype
        assert_close_to_scale(values, expected, dtype)
        assert_close_to_scale(kernel(rows, points), expected, np.float64)


@pytest.mark.parametrize("name", sorted(set(NAMES) - DENSE_ONLY))
@pytest.mark.parametrize("params", PARAMS[:2], ids=str)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_sparse_rows_and_points_give_the_dense_values(name, params, dtype):
    rows, points = B.astype(dtype), Z.astype(dtype)
    expected = values_of(name, rows.astype(float), points.astype(float), params)
    for tile in (rows, sp.csr_array(rows)):
        for landmarks in (points, sp.csr_array(points)):
            values = Kernel(name, params).at(landmarks)(tile, dtype)
            assert isinstance(values, np.ndarray)
            assert values.dtype == dtype
            assert_close_to_scale(values, expected, dtype)
    diagonal = Kernel(name, params).diagonal(sp.csr_array(rows))
    assert_close_to_scale(diagonal, Kernel(name, params).diagonal(rows), dtype)


@pytest.mark.parametrize("name", ["rbf", "linear", "polynomial", "cosine", "sigmoid"])
def test_sparse_points_too_many_to_be_made_dense_change_nothing(name, monkeypatch):
    expected = Kernel(name).at(Z)(B, np.float64)
    monkeypatch.setattr(kernels, "_DENSE_ENTRIES", 1)
    for tile in (B, sp.csr_array(B)):
        values = Kernel(name).at(sp.csr_array(Z))(tile, np.float64)
        assert_close_to_scale(values, expected, np.float64)


@pytest.mark.parametrize("name", sorted(DENSE_ONLY))
def test_kernels_of_dense_rows_refuse_sparse_ones_as_scikit_learn_does(name):
    with pytest.raises(TypeError, match="dense data is required"):
        Kernel(name).at(sp.csr_array(Z))(sp.csr_array(B), np.float64)


@pytest.mark.parametrize("metric", CALLABLES, ids=lambda m: str(m)[:12])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_callables_are_asked_as_scikit_learn_asks_them(metric, dtype):
    rows, points = SIGNED.astype(dtype), Z.astype(dtype)
    expected = values_of(metric, rows.astype(float), points.astype(float), {})
    values = Kernel(metric).at(points)(rows, dtype)
    assert values.dtype == dtype
    assert_close_to_scale(values, expected, dtype)
    assert Kernel(metric).name == ""


def test_callables_take_parameters():
    expected = pairwise_kernels(SIGNED, Z, metric=linear_and_count, power=2)
    values = Kernel(linear_and_count, {"power": 2}).at(Z)(SIGNED, np.float64)
    assert_close_to_scale(values, expected, np.float64)


@pytest.mark.parametrize("metric", [*NAMES, *CALLABLES], ids=lambda m: str(m)[:12])
@pytest.mark.parametrize("params", PARAMS[:2], ids=str)
def test_the_diagonal_is_that_of_the_values(metric, params):
    kernel = Kernel(metric, {} if callable(metric) else params)
    for rows in (B, B.astype(np.float32)):
        diagonal = kernel.diagonal(rows)
        assert diagonal.dtype == np.float64
        expected = np.diagonal(kernel(rows, rows))
        # Of Gaussian process kernels, evaluated in the precision of the rows.
        assert_close_to_scale(diagonal, expected, rows.dtype)


def test_sparse_rows_reach_a_callable_in_one_form():
    def inner(x, y):
        assert sp.issparse(x)
        assert x.shape == y.shape == (1, 6)
        return float(x.multiply(y).sum())

    few = B[:30]
    rows = sp.csr_array(few)
    kernel = Kernel(inner)
    assert_close_to_scale(kernel.at(rows)(rows, np.float64), few @ few.T, np.float64)
    assert_close_to_scale(kernel.diagonal(rows), np.sum(few**2, axis=1), np.float64)


@pytest.mark.parametrize("offset", [0.0, 1e2, 1e4])
@pytest.mark.parametrize("spread", [0.1, 1.0, 30.0])
@pytest.mark.parametrize("center", [None, "given"])
def test_an_offset_costs_a_gaussian_in_single_precision_nothing(offset, spread, center):
    rows = (spread * SIGNED + offset).astype(np.float32)
    points = rows[:20]
    exact = rows.astype(float)
    gamma = 0.5 / spread**2
    expected = values_of("rbf", exact - exact[0], exact[:20] - exact[0], {"gamma": gamma})
    center = exact.mean(axis=0) if center else None
    values = Kernel("rbf", {"gamma": gamma}).at(points, center)(rows, np.float32)
    # About the centre the terms of the exponent are as large as gamma times the squared
    # norms, and their rounding is that of the value.
    norms = gamma * np.sum((exact - exact[:20].mean(axis=0)) ** 2, axis=1)
    error = np.abs(values - expected).max()
    assert error <= 4 * np.finfo(np.float32).eps * (1 + 2 * norms.max())


def test_an_offset_costs_sparse_rows_in_single_precision_nothing():
    rows = (0.1 * SIGNED + 1e3).astype(np.float32)
    exact = rows.astype(float) - rows[0]
    expected = values_of("rbf", exact, exact, {"gamma": 1.0})
    sparse = sp.csr_array(rows)
    values = Kernel("rbf", {"gamma": 1.0}).at(sparse)(sparse, np.float32)
    # Computed in double, where the squared norms of 6e6 round by 1e-9.
    assert np.abs(values - expected).max() <= 10 * np.finfo(np.float32).eps


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_gaussian_lies_between_zero_and_one(dtype):
    rows = np.vstack([SIGNED, 1e8 * SIGNED, SIGNED]).astype(dtype)
    for tile in (rows, sp.csr_array(rows)):
        values = Kernel("rbf", {"gamma": 3.0}).at(tile)(tile, dtype)
        assert values.min() >= 0
        assert values.max() <= 1


def test_a_zero_row_has_no_angle():
    values = Kernel("cosine").at(Z)(np.zeros((1, 6)), np.float64)
    np.testing.assert_array_equal(values, 0)


def test_a_name_takes_its_own_parameters_only():
    assert Kernel("linear", {"gamma": 2, "coef0": 3}).params == {}
    assert Kernel("rbf", {"gamma": 2, "coef0": 3}).params == {"gamma": 2}
    assert Kernel("poly", {"gamma": None}) == Kernel("polynomial")


def test_kernels_named_indefinite_have_negative_eigenvalues_and_others_none():
    for name in set(NAMES):
        values = np.linalg.eigvalsh(Kernel(name, {"gamma": 0.9, "coef0": 1})(B, B))
        rounding = len(B) * np.finfo(float).eps * np.abs(values).max()
        assert (values[0] < -rounding) == Kernel(name).indefinite, name


@pytest.fixture
def small_tiles(monkeypatch):
    """Tiles of 64 rows, the fewest."""
    monkeypatch.setattr(threads, "TILE_BYTES", 1)


@pytest.mark.parametrize(
    ("metric", "make"),
    [
        *product(["rbf", "polynomial", "laplacian", "cosine"], [np.asarray, sp.csr_array]),
        (RBF(), np.asarray),
    ],
)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("n_jobs", [None, 2])
def test_a_kernel_matrix_is_the_dense_one_whatever_its_tiles(
    metric, make, dtype, n_jobs, small_tiles
):
    X = np.vstack([B, Z]).astype(dtype)
    expected = values_of(metric, X.astype(float), None, {})
    A = KernelMatrix(Kernel(metric), make(X), n_jobs)
    assert len(A.tiles) == 3
    assert A.shape == (170, 170)
    assert A.dtype == dtype
    chosen = np.array([160, 3, 3, 70])
    columns = A.columns(chosen)
    parts = A.over_tiles(lambda tile: columns(tile))
    assert all(tile.dtype == dtype for tile in parts)
    assert_close_to_scale(np.hstack(parts), expected[chosen], dtype)
    assert_close_to_scale(A.diagonal(), np.diagonal(expected), dtype)
    assert_close_to_scale(A.submatrix(chosen), expected[np.ix_(chosen, chosen)], dtype)
    V = RNG.standard_normal((170, 3))
    assert_close_to_scale(A.matmat(V), expected @ V, dtype)
    double = A.in_double()
    assert double.columns(chosen)(A.tiles[0]).dtype == np.float64
    assert A.dtype == dtype


@pytest.mark.parametrize("metric", ["rbf", "linear", "polynomial", "laplacian", "cosine"])
@pytest.mark.parametrize("make", [np.asarray, sp.csr_array])
def test_a_kernel_called_computes_in_double(metric, make):
    X = B.astype(np.float32)
    expected = values_of(metric, X.astype(float), None, {"gamma": 0.3})
    kernel = Kernel(metric, {"gamma": 0.3})
    assert_close_to_scale(kernel(make(X), make(X)), expected, np.float64)


def test_tiles_of_any_size_give_the_same_product(monkeypatch):
    V = RNG.standard_normal((150, 2))
    products = []
    for size in (2**21, 2**16, 1):
        monkeypatch.setattr(threads, "TILE_BYTES", size)
        products.append(KernelMatrix(Kernel("rbf"), SIGNED).matmat(V))
    for other in products[1:]:
        assert_close_to_scale(other, products[0], np.float64)


@pytest.mark.parametrize("rank", [1, 100, 255, 256, 300, 400, 512])
@pytest.mark.parametrize("triangular", [True, False])
def test_features_by_tiles_and_panels_are_the_product(rank, triangular, small_tiles):
    points = RNG.standard_normal((rank, 6))
    W = RNG.standard_normal((rank, rank))
    W = np.tril(W) if triangular else W
    kernel = Kernel("rbf").at(points)
    expected = kernel(SIGNED, np.float64) @ W.T
    feature_map = FeatureMap(kernel, W, triangular)
    assert len(list(feature_map.tiles(150, np.float64))) == 3
    for dtype in (np.float32, np.float64):
        Z = features(SIGNED.astype(dtype), feature_map, dtype)
        assert Z.dtype == dtype
        assert_close_to_scale(Z, expected, dtype)
    sent = pickle.loads(pickle.dumps(feature_map))
    np.testing.assert_array_equal(features(SIGNED, sent, np.float64), Z)


@pytest.mark.parametrize("make", [np.asarray, sp.csr_array])
def test_a_precomputed_kernel_has_the_values_of_its_matrix(make):
    K = values_of("polynomial", B, None, {})
    chosen, some = np.array([9, 2, 2, 70]), np.array([3, 8, 100])
    kernel, rows = PrecomputedKernel(), make(K)
    assert_same = np.testing.assert_array_equal
    assert_same(kernel.among(chosen).at(rows[chosen])(rows, np.float64), K[:, chosen])
    assert_same(kernel.among(some)(rows[some], rows[some]), K[np.ix_(some, some)])
    assert_same(kernel.among(some).diagonal(rows[some]), np.diagonal(K)[some])
    assert_same(kernel.diagonal(rows), np.diagonal(K))
    assert_same(kernel.matrix(rows).submatrix(some), K[np.ix_(some, some)])
    assert not kernel.takes_points
    assert not kernel.indefinite


def test_a_kernel_function_is_the_same_among_any_samples():
    kernel = Kernel("rbf")
    assert kernel.among(np.array([1, 2])) is kernel
    assert kernel.takes_points


@pytest.mark.parametrize("container", [np.asarray, sp.csr_array])
def test_rows_whose_squares_are_out_of_range_are_like_no_landmark(container):
    Z = np.random.default_rng(0).standard_normal((4, 5))
    for dtype, largest in ((np.float64, 1.7e308), (np.float32, 3e38)):
        far = container((np.sign(Z) * largest).astype(dtype))
        K = Kernel("rbf", {"gamma": 1.0}).at(container(Z.astype(dtype)))(far, dtype)
        np.testing.assert_array_equal(K, 0)
