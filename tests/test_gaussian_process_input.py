"""Whatever the data of the Gaussian process come as; and whatever is wrong with them."""

import pickle

import dask.array as da
import numpy as np
import pandas as pd
import polars as pl
import pytest
import scipy.sparse as sp
from sklearn.gaussian_process.kernels import RBF, CompoundKernel, DotProduct, WhiteKernel
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sklearn_rnla import NystroemGaussianProcessRegressor as Regressor
from tests.sources import NAMES_IN_POLARS, Lazy, on_disk

RNG = np.random.default_rng(0)
X = RNG.random((150, 3))
Y = np.column_stack([np.sin(5 * X[:, 0]), X.sum(axis=1)]) + 1
Y += 0.05 * RNG.standard_normal(Y.shape)
y = Y[:, 0]
KERNEL = 1.0 * RBF(0.5) + WhiteKernel(0.01)
FIXED = {"kernel": KERNEL, "optimizer": None, "landmarks": np.arange(0, 150, 5)}

SOURCES = {
    "list": lambda _: X.tolist(),
    "pandas": lambda _: pd.DataFrame(X),
    "polars": lambda _: pl.DataFrame(X),
    "fortran": lambda _: np.asfortranarray(X),
    "memmap": lambda folder: on_disk(X, folder),
    "lazy": lambda _: Lazy(X),
    "dask": lambda _: da.from_array(X, chunks=(40, 3)),
}


@pytest.mark.parametrize("make", SOURCES.values(), ids=SOURCES)
@pytest.mark.parametrize("target", [y, Y], ids=["1d", "many"])
def test_every_source_gives_the_same_answer(make, target, tmp_path):
    reference = Regressor(**FIXED).fit(X, target)
    gpr = Regressor(**FIXED).fit(make(tmp_path), target)
    for a, b in zip(
        gpr.predict(make(tmp_path), return_std=True),
        reference.predict(X, return_std=True),
        strict=True,
    ):
        assert a.shape == target.shape
        np.testing.assert_allclose(np.asarray(a), b, rtol=1e-6)
    theta = KERNEL.theta + 0.1
    for a, b in zip(
        gpr.log_marginal_likelihood(theta, eval_gradient=True),
        reference.log_marginal_likelihood(theta, eval_gradient=True),
        strict=True,
    ):
        np.testing.assert_allclose(a, b, rtol=1e-6)


def test_parameters_are_learned_from_dask_arrays():
    lazy = Regressor(KERNEL, n_landmarks=30, random_state=0)
    lazy.fit(da.from_array(X, chunks=(40, 3)), y)
    eager = Regressor(KERNEL, n_landmarks=30, random_state=0).fit(X, y)
    np.testing.assert_allclose(lazy.kernel_.theta, eager.kernel_.theta, atol=0.01)
    assert isinstance(lazy.predict(da.from_array(X)), da.Array)


def test_single_precision_gives_nearly_the_same():
    single = Regressor(**FIXED).fit(X.astype(np.float32), y)
    mean, std = single.predict(X.astype(np.float32), return_std=True)
    assert mean.dtype == std.dtype == np.float64
    expected, expected_std = Regressor(**FIXED).fit(X, y).predict(X, return_std=True)
    np.testing.assert_allclose(mean, expected, atol=1e-3)
    np.testing.assert_allclose(std, expected_std, atol=1e-3)


def test_names_of_features_are_kept():
    frame = pd.DataFrame(X, columns=["a", "b", "c"])
    gpr = Regressor(**FIXED).fit(frame, y)
    assert list(gpr.feature_names_in_) == ["a", "b", "c"]
    gpr.log_marginal_likelihood(KERNEL.theta)
    if NAMES_IN_POLARS:
        gpr = Regressor(**FIXED).fit(pl.DataFrame(X, schema=["a", "b", "c"]), y)
        assert list(gpr.feature_names_in_) == ["a", "b", "c"]


def test_a_pickle_predicts_the_same():
    gpr = Regressor(KERNEL, n_landmarks=20, random_state=0).fit(X, y)
    again = pickle.loads(pickle.dumps(gpr))
    for a, b in zip(
        again.predict(X, return_cov=True), gpr.predict(X, return_cov=True), strict=True
    ):
        np.testing.assert_array_equal(a, b)


def test_it_is_a_step_of_a_pipeline_and_of_a_search():
    pipeline = make_pipeline(StandardScaler(), Regressor(n_landmarks=20, random_state=0))
    grid = {"nystroemgaussianprocessregressor__method": ["variational", "fitc"]}
    search = GridSearchCV(pipeline, grid, cv=2).fit(X, y)
    assert search.best_score_ > 0.9


@pytest.mark.parametrize("n", [1, 2, 3])
def test_few_rows_are_enough(n):
    mean, std = Regressor(random_state=0).fit(X[:n], y[:n]).predict(X, return_std=True)
    assert np.isfinite(mean).all()
    assert np.isfinite(std).all()


@pytest.mark.filterwarnings("ignore:Element:sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("constant", [0.0, 3.0])
@pytest.mark.parametrize("normalize_y", [False, True])
def test_a_constant_target_is_predicted(constant, normalize_y):
    gpr = Regressor(n_landmarks=20, normalize_y=normalize_y, random_state=0)
    predicted = gpr.fit(X, np.full(150, constant)).predict(X)
    np.testing.assert_allclose(predicted, constant, atol=0.02)


@pytest.mark.filterwarnings("ignore:Element:sklearn.exceptions.ConvergenceWarning")
def test_repeated_rows_do_no_harm():
    repeated = np.repeat(X[:30], 5, axis=0)
    gpr = Regressor(KERNEL, n_landmarks=100, random_state=0)
    gpr.fit(repeated, np.repeat(y[:30], 5))
    assert len(gpr.components_) <= 30
    np.testing.assert_allclose(gpr.predict(X[:30]), y[:30], atol=0.2)


def test_data_that_change_later_do_not_matter():
    changed = X.copy()
    gpr = Regressor(**FIXED).fit(changed, y)
    before = gpr.log_marginal_likelihood(KERNEL.theta)
    changed[:] = 0
    assert gpr.log_marginal_likelihood(KERNEL.theta) == before
    shared = Regressor(**FIXED, copy_X_train=False).fit(X, y)
    assert np.shares_memory(shared.X_train_, X)


def test_a_fit_that_fails_leaves_the_model_as_it_was():
    gpr = Regressor(**FIXED).fit(X, y)
    before = gpr.predict(X)
    with pytest.raises(ValueError, match="NaN"):
        gpr.fit(np.full((150, 3), np.nan), y)
    np.testing.assert_array_equal(gpr.predict(X), before)


def broken(A, value):
    A = A.copy()
    A.flat[7] = value
    return A


BAD = [
    ({}, (broken(X, np.nan), y), "Input X contains NaN"),
    ({}, (broken(X, np.inf), y), "Input X contains inf"),
    ({}, (da.from_array(broken(X, np.nan)), y), "NaN|finite"),
    ({}, (X, broken(y, np.nan)), "Input y contains NaN"),
    ({}, (X, y[:20]), "inconsistent numbers of samples"),
    ({}, (X, None), "requires y"),
    ({}, (X[:0], y[:0]), "0 sample"),
    ({}, (sp.csr_array(X), y), "[Ss]parse"),
    ({}, ([["a"], ["b"]], [0, 1]), "convert|numeric"),
    ({"kernel": "rbf"}, (X, y), "'kernel' parameter"),
    ({"kernel": CompoundKernel([RBF(), RBF()])}, (X, y), "CompoundKernel"),
    ({"kernel": RBF([1.0, 2.0])}, (X, y), "dimension|length_scale"),
    ({"alpha": -1}, (X, y), "'alpha' parameter"),
    ({"alpha": np.array(-1.0)}, (X, y), "alpha must be finite and at least 0"),
    (
        {"alpha": 0.0, "kernel": RBF(), "learn_noise": False, "n_landmarks": 20},
        (X, y),
        "alpha=0.0 must be pos",
    ),
    ({"alpha": np.ones(3)}, (X, y), r"alpha has shape \(3,\).*n_samples=150"),
    ({"alpha": -np.ones(150)}, (X, y), "alpha must be finite and at least 0"),
    ({"method": "vfe"}, (X, y), "'method' parameter"),
    ({"n_landmarks": 0}, (X, y), "'n_landmarks' parameter"),
    ({"landmarks": "best"}, (X, y), "'landmarks' parameter"),
    ({"landmarks": np.ones((2, 5))}, (X, y), "landmarks have 5 features, but X has 3"),
    ({"n_targets": 2}, (X, y), "n_targets=2, but y has 1"),
    ({"optimizer": "adam"}, (X, y), "'optimizer' parameter"),
    (
        {"kernel": RBF(1.0, (1e-2, np.inf)), "n_restarts_optimizer": 1},
        (X, y),
        "bounds .* are finite",
    ),
]


@pytest.mark.parametrize(("params", "args", "message"), BAD)
def test_what_is_wrong_is_named(params, args, message):
    with pytest.raises((ValueError, TypeError), match=message):
        Regressor(**params).fit(*args)


def test_asking_for_both_std_and_cov_is_refused():
    with pytest.raises(RuntimeError, match="At most one"):
        Regressor(**FIXED).fit(X, y).predict(X, return_std=True, return_cov=True)


@pytest.mark.parametrize("n", [20, 150], ids=["landmarks", "exact"])
@pytest.mark.parametrize("optimizer", ["fmin_l_bfgs_b", None])
def test_a_kernel_that_is_nan_for_some_pairs_is_named_and_refused(n, optimizer):
    gpr = Regressor(DotProduct() ** 0.5, n_landmarks=n, optimizer=optimizer, alpha=0.1)
    with pytest.raises(ValueError, match=r"kernel.*DotProduct.* finite and positive"):
        gpr.fit(X - 0.5, y)


@pytest.mark.parametrize("wanted", [{}, {"return_std": True}, {"return_cov": True}])
def test_a_kernel_that_is_nan_for_new_rows_alone_is_refused_by_predict(wanted):
    kernel = DotProduct(1e-9, "fixed") ** 1.5
    gpr = Regressor(kernel, n_landmarks=5, alpha=0.1).fit(X[:, :1], y)
    with pytest.raises(ValueError, match=r"kernel=DotProduct.* must be finite"):
        gpr.predict(X[:, :1] - 0.5, **wanted)
