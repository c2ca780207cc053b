"""SketchedRidge against scikit-learn's linear models, whatever the data come as."""

import pickle
import tracemalloc
import warnings

import dask.array as da
import numpy as np
import pandas as pd
import polars as pl
import pytest
import scipy.linalg
import scipy.sparse as sp
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning, NotFittedError
from sklearn.linear_model import LinearRegression, Ridge

import sklearn_rnla.linear_model as module
from sklearn_rnla import SketchedRidge
from tests.invariants import assert_close_to_scale
from tests.matrices import deep
from tests.sources import Lazy, on_disk, sparse_chunks

RNG = np.random.default_rng(0)
N, P = 1200, 6
X = RNG.standard_normal((N, P)) * (RNG.random((N, P)) < 0.6) + [3, 0, 0, 1, 0, 0]
Y = X @ RNG.standard_normal((P, 3)) + RNG.standard_normal((N, 3)) + [7, 0, -100]
y = Y[:, 0]
W = 2 * RNG.random(N)

SOLVERS = ["auto", "direct", "iterative", "svd"]
EACH_SOLVER = pytest.mark.parametrize("solver", SOLVERS)
ALPHAS = pytest.mark.parametrize("alpha", [0, 0.5, 100])
INTERCEPT = pytest.mark.parametrize("fit_intercept", [True, False])
WEIGHTS = pytest.mark.parametrize("weight", [None, W, 3.0], ids=["none", "many", "one"])
TARGETS = pytest.mark.parametrize("target", [y, Y[:, :1], Y], ids=["1d", "column", "many"])


def assert_same_model(ours, theirs, slack=1e4):
    assert_close_to_scale(ours.coef_, theirs.coef_, float, slack)
    assert_close_to_scale(ours.intercept_, theirs.intercept_, float, slack)


@EACH_SOLVER
@ALPHAS
@INTERCEPT
@WEIGHTS
@TARGETS
def test_it_is_ridge(solver, alpha, fit_intercept, weight, target):
    ours = SketchedRidge(
        alpha, fit_intercept=fit_intercept, solver=solver, random_state=0
    ).fit(X, target, weight)
    theirs = Ridge(alpha, fit_intercept=fit_intercept, solver="svd").fit(X, target, weight)
    assert_same_model(ours, theirs)
    assert np.shape(ours.intercept_) == np.shape(theirs.intercept_)
    assert ours.predict(X).shape == theirs.predict(X).shape
    assert ours.score(X, target) == pytest.approx(theirs.score(X, target))
    assert ours.rank_ == P
    assert solver in ("auto", ours.solver_)


@EACH_SOLVER
@INTERCEPT
def test_without_a_penalty_it_is_linear_regression(solver, fit_intercept):
    ours = SketchedRidge(0, fit_intercept=fit_intercept, solver=solver).fit(X, Y, W)
    theirs = LinearRegression(fit_intercept=fit_intercept).fit(X, Y, W)
    assert_same_model(ours, theirs)


@ALPHAS
@INTERCEPT
@pytest.mark.parametrize("scale", [1.0, 1e-170])
def test_singular_values_are_those_of_linear_regression(alpha, fit_intercept, scale):
    dependent = np.column_stack([X, X[:, 0]]) * scale
    theirs = LinearRegression(fit_intercept=fit_intercept).fit(dependent / scale, y, W)
    limit = 1e-7 * theirs.singular_[0]
    for solver, A in [("direct", dependent), ("svd", dependent), ("auto", dependent[:30])]:
        ours = SketchedRidge(alpha * scale, fit_intercept=fit_intercept, solver=solver)
        ours.fit(A, y[: len(A)], W[: len(A)])
        if len(A) < N:
            theirs = LinearRegression(fit_intercept=fit_intercept)
            theirs.fit(A / scale, y[: len(A)], W[: len(A)])
        np.testing.assert_allclose(ours.singular_ / scale, theirs.singular_, atol=limit)


def test_singular_values_that_are_not_known_say_how_to_get_them():
    ours = SketchedRidge(solver="iterative").fit(X, y)
    with pytest.raises(AttributeError, match="solver='svd'"):
        ours.singular_  # noqa: B018


@EACH_SOLVER
def test_each_target_may_have_its_penalty(solver):
    alphas = np.array([0, 1e-3, 1e6])
    ours = SketchedRidge(alphas, solver=solver).fit(X, Y, W)
    for j, alpha in enumerate(alphas):
        theirs = Ridge(alpha, solver="svd").fit(X, Y[:, j], W)
        assert_close_to_scale(ours.coef_[j], theirs.coef_, float, 1e5)
        assert ours.intercept_[j] == pytest.approx(theirs.intercept_, rel=1e-12)


@EACH_SOLVER
@ALPHAS
def test_the_gradient_vanishes(solver, alpha, seed):
    ours = SketchedRidge(alpha, solver=solver, random_state=seed).fit(X, y, W)
    r = W * (y - X @ ours.coef_ - ours.intercept_)
    rounding = 100 * np.finfo(float).eps * np.abs(X).T @ np.abs(r)
    assert np.all(np.abs(X.T @ r - alpha * ours.coef_) <= rounding)
    assert abs(r.sum()) <= 100 * np.finfo(float).eps * np.abs(r).sum()


@EACH_SOLVER
def test_weights_are_repetitions(solver):
    counts = RNG.integers(0, 4, N)
    weighted = SketchedRidge(2, solver=solver).fit(X, Y, counts)
    repeated = SketchedRidge(2, solver=solver).fit(
        np.repeat(X, counts, axis=0), np.repeat(Y, counts, axis=0)
    )
    assert_same_model(weighted, repeated)


@EACH_SOLVER
@pytest.mark.parametrize("digits", [6, 8])
def test_ill_conditioned_data_are_as_accurate_as_by_gelsd(solver, digits, seed):
    A, _ = deep(4000, 20, digits, seed)
    truth = np.random.default_rng(seed).standard_normal(20)
    target = A @ truth + 5
    ours = SketchedRidge(0, solver=solver, random_state=seed).fit(A, target)
    about = A - A.mean(axis=0)
    theirs = scipy.linalg.lstsq(about, target - target.mean())[0]
    limit = np.finfo(float).eps * 10.0**digits * np.linalg.norm(truth)
    error = np.linalg.norm(ours.coef_ - truth)
    assert error <= 10 * max(np.linalg.norm(theirs - truth), 10 * limit)
    assert ours.intercept_ == pytest.approx(5, abs=1e-9)
    predicted = ours.predict(A)
    size = np.linalg.norm(target - target.mean())
    assert np.linalg.norm(predicted - target) <= size * ours.error_estimate_ + 1e-11


@EACH_SOLVER
def test_a_mean_far_away_does_no_harm(solver):
    far = X + 1e6 * np.arange(1, P + 1)
    ours = SketchedRidge(0, solver=solver, random_state=0).fit(far, y + 1e8)
    theirs = SketchedRidge(0, solver="svd").fit(X, y)
    np.testing.assert_allclose(ours.coef_, theirs.coef_, rtol=1e-6)


@EACH_SOLVER
@pytest.mark.parametrize("scale", [1e-170, 1e-120, 1e-30, 1e120, 1e170])
def test_units_do_not_matter(solver, scale):
    ours = SketchedRidge(0, solver=solver, random_state=0).fit(scale * X, y)
    reference = SketchedRidge(0, solver="svd").fit(X, y)
    assert_close_to_scale(scale * ours.coef_, reference.coef_, float, 1e4)


@EACH_SOLVER
def test_data_too_large_to_be_squared_beside_others_are_refused(solver):
    huge = X.copy()
    huge[1] *= 1e170
    with pytest.raises(ValueError, match="too large to be squared"):
        SketchedRidge(solver=solver).fit(huge, y)


SOURCES = {
    "list": lambda _: X.tolist(),
    "pandas": lambda _: pd.DataFrame(X),
    "polars": lambda _: pl.DataFrame(X),
    "fortran": lambda _: np.asfortranarray(X),
    "csr": lambda _: sp.csr_array(X),
    "csc": lambda _: sp.csc_matrix(X),
    "memmap": lambda folder: on_disk(X, folder),
    "rows": lambda _: Lazy(X),
    "dask": lambda _: da.from_array(X, chunks=(500, 3)),
    "sparse dask": lambda _: sparse_chunks(X, 500),
}


@pytest.mark.parametrize("make", SOURCES.values(), ids=SOURCES)
@EACH_SOLVER
@INTERCEPT
def test_every_source_gives_the_same_answer(make, solver, fit_intercept, tmp_path):
    ridge = SketchedRidge(0.3, solver=solver, fit_intercept=fit_intercept, random_state=0)
    reference = clone(ridge).fit(X, Y, W)
    source = make(tmp_path)
    ridge.fit(source, Y, W)
    assert_same_model(ridge, reference)
    predicted = np.asarray(ridge.predict(source))
    assert_close_to_scale(predicted, reference.predict(X), float, 1e4)


def test_predictions_of_dask_arrays_stay_lazy():
    source = da.from_array(X, chunks=(500, P))
    for target in (y, Y):
        ridge = SketchedRidge().fit(source, target)
        lazy = ridge.predict(source)
        assert isinstance(lazy, da.Array)
        assert lazy.shape == target.shape
        assert_close_to_scale(lazy.compute(), ridge.predict(X), float)


@pytest.mark.parametrize("make", [np.asarray, sp.csr_array])
@EACH_SOLVER
def test_single_precision_is_kept_and_summed_in_double(make, solver):
    single = make(X.astype(np.float32))
    double = make(X.astype(np.float32).astype(np.float64))
    ours = SketchedRidge(0, solver=solver, random_state=0).fit(single, Y)
    theirs = SketchedRidge(0, solver=solver, random_state=0).fit(double, Y)
    assert ours.coef_.dtype == ours.intercept_.dtype == np.float32
    assert ours.predict(single).dtype == np.float32
    assert_close_to_scale(ours.coef_, theirs.coef_, np.float32, 1)
    assert SketchedRidge().fit((10 * X).astype(int), y).coef_.dtype == np.float64


@EACH_SOLVER
def test_threads_and_blocks_change_rounding_only(solver):
    ridge = SketchedRidge(0, solver=solver, random_state=0)
    reference = clone(ridge).fit(X, Y, W)
    for params in ({"n_jobs": 2, "block_size": 100}, {"block_size": 7}):
        assert_same_model(clone(ridge).set_params(**params).fit(X, Y, W), reference)
    one, two = (clone(ridge).set_params(n_jobs=k, block_size=100).fit(X, Y) for k in (1, 2))
    np.testing.assert_array_equal(one.coef_, two.coef_)


@EACH_SOLVER
@pytest.mark.parametrize("make", [np.asarray, sp.csr_array])
@pytest.mark.parametrize("constant", [1.0, 0.1, 1e10])
def test_constant_columns_have_no_coefficient(solver, make, constant):
    with_constant = np.column_stack([X[:, :3], np.full(N, constant), X[:, 3:]])
    ours = SketchedRidge(0, solver=solver, random_state=0).fit(make(with_constant), y, W)
    reference = SketchedRidge(0, solver="svd").fit(X, y, W)
    assert abs(ours.coef_[3]) * constant <= 1e-12
    expected = np.insert(reference.coef_, 3, 0.0)
    assert_close_to_scale(ours.coef_, expected, float, 1e5)
    assert ours.rank_ == P


@EACH_SOLVER
@pytest.mark.parametrize("make", [np.asarray, sp.csr_array])
def test_duplicate_columns_share_their_coefficient(solver, make):
    twice = np.column_stack([X, X[:, 0]])
    ours = SketchedRidge(0, solver=solver, random_state=0).fit(make(twice), y)
    reference = SketchedRidge(0, solver="svd").fit(X, y)
    assert ours.rank_ == P
    np.testing.assert_allclose(ours.coef_[[0, P]], reference.coef_[0] / 2, rtol=1e-9)
    np.testing.assert_allclose(ours.predict(twice), reference.predict(X), rtol=1e-8)


@EACH_SOLVER
def test_all_categories_and_an_intercept_are_dependent(solver):
    level = RNG.integers(5, size=N)
    onehot = sp.csr_array(np.eye(5)[level])
    ours = SketchedRidge(0, solver=solver, random_state=0).fit(onehot, y)
    means = np.array([y[level == k].mean() for k in range(5)])
    np.testing.assert_allclose(ours.predict(np.eye(5)), means, rtol=1e-10)
    assert ours.coef_.sum() == pytest.approx(0, abs=1e-10)
    assert ours.rank_ == 4


@EACH_SOLVER
@ALPHAS
def test_a_constant_target_is_the_intercept(solver, alpha):
    for value in (0.0, 0.1, 1e12):
        ours = SketchedRidge(alpha, solver=solver).fit(X, np.full(N, value))
        assert not ours.coef_.any()
        assert ours.intercept_ == value
        assert ours.error_estimate_ == 0


@EACH_SOLVER
@ALPHAS
def test_data_that_are_all_zero_or_one_row_give_the_mean(solver, alpha):
    ours = SketchedRidge(alpha, solver=solver).fit(np.zeros((N, P)), Y)
    assert not ours.coef_.any()
    np.testing.assert_allclose(ours.intercept_, Y.mean(axis=0))
    ours.fit(X[:1], Y[:1])
    assert not ours.coef_.any()
    np.testing.assert_allclose(ours.predict(X[:2]), Y[[0, 0]])


@EACH_SOLVER
@ALPHAS
@INTERCEPT
@pytest.mark.parametrize("make", [np.asarray, sp.csr_array])
def test_fewer_samples_than_features(solver, alpha, fit_intercept, make):
    rng = np.random.default_rng(0)
    A, b = rng.standard_normal((15, 60)), rng.standard_normal(15)
    ours = SketchedRidge(alpha, solver=solver, fit_intercept=fit_intercept).fit(make(A), b)
    if alpha:
        theirs = Ridge(alpha, solver="svd", fit_intercept=fit_intercept).fit(A, b)
    else:
        theirs = LinearRegression(fit_intercept=fit_intercept).fit(A, b)
    assert_same_model(ours, theirs, 1e6)


def test_wide_sparse_data_are_not_made_dense(monkeypatch):
    # sp.random would permute all places.
    rng = np.random.default_rng(0)
    places = rng.integers(3000, size=30_000), rng.integers(100_000, size=30_000)
    A = sp.csr_array((rng.random(30_000), places), shape=(3000, 100_000))
    target = A @ np.ones(100_000)
    monkeypatch.setattr(sp.csr_array, "toarray", None)
    monkeypatch.setattr(
        module.solve_least_squares.__globals__["RidgeProblem"], "dense", None
    )
    ours = SketchedRidge(1.0, tol=1e-10).fit(A, target)
    assert ours.solver_ == "iterative"
    assert ours.rank_ is None
    r = target - A @ ours.coef_ - ours.intercept_
    gradient = A.T @ r - ours.coef_
    assert np.linalg.norm(gradient) <= 1e-8 * np.linalg.norm(target)
    assert ours.error_estimate_ <= 1e-9


@EACH_SOLVER
def test_the_estimate_bounds_the_excess_of_the_residual(solver, seed):
    ours = SketchedRidge(0, solver=solver, tol=1e-3, max_iter=4, random_state=seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        ours.fit(X, y)
    best = SketchedRidge(0, solver="svd").fit(X, y)
    size, optimum = np.linalg.norm(y - y.mean()), np.linalg.norm(y - best.predict(X))
    excess = np.linalg.norm(y - ours.predict(X)) / optimum - 1
    assert excess <= 0.5 * (ours.error_estimate_ * size / optimum) ** 2 + 1e-14


def test_too_few_iterations_warn():
    with pytest.warns(ConvergenceWarning, match=r"relative error .* max_iter \(now 1\)"):
        SketchedRidge(solver="iterative", max_iter=1).fit(X, y)


def broken(value):
    bad = X.copy()
    bad[5, 3] = value
    return bad


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("make", [np.asarray, sp.csr_array, da.from_array, Lazy])
@EACH_SOLVER
def test_values_that_are_not_finite_are_refused(solver, make, value):
    ridge = SketchedRidge(solver=solver)
    with pytest.raises(ValueError, match=r"NaN|inf"):
        ridge.fit(make(broken(value)), y)
    with pytest.raises(ValueError, match=r"Input y contains (NaN|inf)"):
        ridge.fit(X, np.where(np.arange(N) == 7, value, y))
    with pytest.raises(ValueError, match=r"Input sample_weight contains (NaN|inf)"):
        ridge.fit(X, y, np.where(np.arange(N) == 7, value, W))
    if make in (np.asarray, sp.csr_array):
        ridge.fit(X, y)
        with pytest.raises(ValueError, match=r"NaN|inf"):
            ridge.predict(make(broken(value)))


@pytest.mark.parametrize(
    ("params", "args", "message"),
    [
        ({"alpha": -1}, (X, y), r"'alpha' parameter .* \[0.0, inf\) .* Got -1"),
        ({"alpha": np.nan}, (X, y), "'alpha' parameter .* Got nan"),
        ({"alpha": "best"}, (X, y), "'alpha' parameter .* Got 'best'"),
        ({"alpha": [1, -1, 1]}, (X, Y), r"alpha=\[1, -1, 1\] must be .* at least 0"),
        ({"alpha": [1, 2]}, (X, Y), r"alpha=\[1, 2\] must be .* n_targets=3"),
        ({"alpha": [1, 2]}, (X, y), r"alpha=\[1, 2\] must be .* n_targets=1"),
        ({"alpha": []}, (X, y), r"alpha=\[\] must be"),
        ({"alpha": ["a"]}, (X, y), r"alpha=\['a'\] must be numbers"),
        ({"solver": "cholesky"}, (X, y), "'solver' parameter"),
        ({"tol": -1}, (X, y), "'tol' parameter"),
        ({"max_iter": 0}, (X, y), "'max_iter' parameter"),
        ({"block_size": 0}, (X, y), "'block_size' parameter"),
        ({"fit_intercept": "yes"}, (X, y), "'fit_intercept' parameter"),
        ({}, (X, None), "requires y to be passed"),
        ({}, (X, y[:5]), r"inconsistent numbers of samples: \[1200, 5\]"),
        ({}, (X, ["a"] * N), "could not convert string"),
        ({}, (X[:0], y[:0]), "0 sample"),
        ({}, (X[0], y), "Expected 2D array"),
        ({}, (iter([X]), y), "iterator"),
        ({}, (X, y, -W), "Negative values"),
        ({}, (X, y, W[:3]), "sample_weight.shape"),
        ({}, (X, y, 0 * W), "non-zero|zero for every"),
    ],
)
def test_bad_input_is_refused_with_the_reason(params, args, message):
    ridge = SketchedRidge(**params)
    with pytest.raises(ValueError, match=message):
        ridge.fit(*args)
    assert not [name for name in vars(ridge) if name.endswith("_") and name[0] != "_"]


def test_other_widths_and_unfitted_estimators_are_refused():
    with pytest.raises(NotFittedError):
        SketchedRidge().predict(X)
    frame = pd.DataFrame(X, columns=list("abcdef"))
    ridge = SketchedRidge().fit(frame, y)
    assert ridge.feature_names_in_.tolist() == list("abcdef")
    with pytest.raises(ValueError, match="X has 3 features"):
        SketchedRidge().fit(X, y).predict(X[:, :3])
    with pytest.raises(ValueError, match="feature names should match"):
        ridge.predict(frame.rename(columns={"d": "z"}))


class StoppedError(Exception):
    pass


@pytest.mark.parametrize("error", [StoppedError, KeyboardInterrupt])
def test_an_interrupted_fit_leaves_the_previous_state(error, monkeypatch):
    ridge = SketchedRidge().fit(X, y)
    before = vars(ridge).copy()

    def interrupt(*args, **kwargs):
        raise error

    monkeypatch.setattr(module, "solve_least_squares", interrupt)
    with pytest.raises(error):
        ridge.fit(X[:, :2], Y)
    assert vars(ridge).keys() == before.keys()
    assert all(vars(ridge)[key] is before[key] for key in before)


def test_callbacks_see_every_pass_and_can_stop_it():
    pytest.importorskip("sklearn.callback")

    class Recorder:
        def __init__(self, most=np.inf):
            self.passes, self.most = 0, most

        def setup(self, estimator, context):
            pass

        def on_fit_task_begin(self, estimator, context, **kwargs):
            pass

        def on_fit_task_end(self, estimator, context, **kwargs):
            self.passes += context.task_name == "pass"
            return self.passes >= self.most

        def teardown(self, estimator, context):
            pass

    ridge = SketchedRidge(solver="iterative", random_state=0)
    recorder = Recorder()
    n_iter = ridge.set_callbacks(recorder).fit(X, y).n_iter_
    assert n_iter - 3 <= recorder.passes < n_iter
    with pytest.warns(ConvergenceWarning):
        ridge.set_callbacks(Recorder(most=2)).fit(X, y)
    assert ridge.n_iter_ == 4


def test_neither_data_nor_targets_are_changed():
    A, B, w = X.copy(), Y.copy(), W.copy()
    for solver in SOLVERS:
        SketchedRidge(solver=solver).fit(A, B, w)
        for kept, original in ((A, X), (B, Y), (w, W)):
            np.testing.assert_array_equal(kept, original)


def test_a_fitted_estimator_pickles():
    ridge = SketchedRidge(random_state=0).fit(X, Y)
    other = pickle.loads(pickle.dumps(ridge))
    np.testing.assert_array_equal(other.predict(X), ridge.predict(X))
    assert clone(ridge).get_params() == ridge.get_params()


@EACH_SOLVER
@pytest.mark.parametrize("alpha", [0, 1.0])
def test_sparse_columns_far_from_zero_are_as_good_as_dense_ones(solver, alpha):
    rng = np.random.default_rng(0)
    Z = sp.random(5000, 30, density=0.2, random_state=0).toarray()
    Z[:, 0] = rng.normal(1.7e9, 1e5, 5000)
    target = Z @ rng.standard_normal(30) + rng.standard_normal(5000)
    model = SketchedRidge(alpha, solver=solver, random_state=0)
    dense, sparse = (
        clone(model).fit(make(Z), target) for make in (np.asarray, sp.csr_array)
    )
    apart = (Z - Z.mean(axis=0)) @ (dense.coef_ - sparse.coef_)
    assert np.linalg.norm(apart) < 1e-14 * np.linalg.norm(target - target.mean())


@EACH_SOLVER
@pytest.mark.parametrize("make", [np.asarray, sp.csr_array])
def test_a_head_of_rows_without_weight_changes_nothing(solver, make):
    weight = W.copy()
    weight[:64] = 0
    spoiled = X.copy()
    spoiled[:64] = 1e8
    model = SketchedRidge(0.5, solver=solver, random_state=0)
    found = clone(model).fit(make(spoiled), y, weight)
    theirs = Ridge(0.5, solver="svd").fit(X[64:], y[64:], weight[64:])
    assert_same_model(found, theirs)


def with_values(s, n_columns, seed):
    rng = np.random.default_rng(seed)
    n = 300
    U = np.linalg.qr(rng.standard_normal((n, len(s))))[0]
    V = np.linalg.qr(rng.standard_normal((n_columns, len(s))))[0]
    return U, s, V, rng.standard_normal(n)


def error_of_fit(model, U, s, V, y, alpha):
    d = model.coef_ - V @ (s / (s**2 + alpha) * (U.T @ y))
    fitted = np.linalg.norm(s * (V.T @ d))
    return np.hypot(fitted, np.sqrt(alpha) * np.linalg.norm(d)) / np.linalg.norm(y)


@pytest.mark.parametrize("alpha", [0.0, 1e-24, 1e-12, 1e-6, 1.0])
@pytest.mark.parametrize("n_columns", [300, 400])
def test_a_tiny_penalty_costs_no_accuracy_without_a_preconditioner(n_columns, alpha, seed):
    U, s, V, y = with_values(np.linspace(5, 1, 300), n_columns, seed)
    ridge = SketchedRidge(alpha, fit_intercept=False, solver="iterative")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        ridge.fit((U * s) @ V.T, y)
    assert error_of_fit(ridge, U, s, V, y, alpha) <= 1e-13
    assert ridge.error_estimate_ <= 1e-13
    assert ridge.n_iter_ <= 200


@pytest.mark.parametrize("max_iter", [20, 100, None])
@pytest.mark.parametrize("power", [1, 2, 4])
@pytest.mark.parametrize("alpha", [0.0, 1e-14, 1e-7])
def test_the_estimate_without_a_preconditioner_is_honest(alpha, power, max_iter, seed):
    U, s, V, y = with_values(np.arange(1.0, 201) ** -power, 200, seed)
    ridge = SketchedRidge(alpha, fit_intercept=False, solver="iterative", max_iter=max_iter)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        ridge.fit((U * s) @ V.T, y)
    error = error_of_fit(ridge, U, s, V, y, alpha)
    assert error <= ridge.error_estimate_ <= 1 + 1e-9
    if ridge.error_estimate_ > 1e-3:
        assert f"Increase max_iter (now {max_iter or 5000})" in str(caught[0].message)


@pytest.mark.parametrize("options", [{"solver": "direct"}, {"alphas": [0.1, 1.0]}], ids=str)
def test_few_rows_of_sparse_data_are_dense_at_a_time(options):
    n, p = 60_000, 300
    rows = sp.random(n, p, 0.01, format="csr", random_state=0)
    y = np.random.default_rng(0).random(n)
    ridge = SketchedRidge(**options, n_jobs=1, random_state=0)
    ridge.fit(rows[:1000], y[:1000])  # compiles
    tracemalloc.start()
    ridge.fit(rows, y)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    # Less than the two sketches of other solvers; the data would be 144 MB.
    assert peak <= 2 * (8 * p * p * 8) + 8e6


def test_a_sketch_of_sparse_data_is_in_memory_at_most_twice():
    n, p = 20_000, 500
    rng = np.random.default_rng(0)
    rows = sp.random(n, p, 0.01, format="csr", random_state=0)
    ridge = SketchedRidge(solver="iterative", n_jobs=1, random_state=0)
    ridge.fit(rows, rng.random(n))  # compiles
    tracemalloc.start()
    ridge.fit(rows, rng.random(n))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    # The sum so far, and the sketch of a block.
    assert peak <= 2 * (8 * p * p * 8) + 8e6
