"""MatrixCompleter: what it fills in, predicts and recommends."""

import pickle
import warnings
from functools import partial

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning, NotFittedError
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline

from sklearn_rnla import MatrixCompleter
from sklearn_rnla.linalg.completion.model import LowRankModel

SOLVERS = ["em", "gibbs", "als", "softimpute", "exact", "iterative_svd"]
EACH_SOLVER = pytest.mark.parametrize("solver", SOLVERS)
# Those that take sparse data.
ON_ENTRIES = pytest.mark.parametrize("solver", SOLVERS[1:])
NOISE = 0.1
# Entries with noise are not recovered exactly.
UNDETERMINED = pytest.mark.filterwarnings(
    "ignore:.*What the entries do not determine:UserWarning"
)
UNCONVERGED = pytest.mark.filterwarnings(
    "ignore:The solver 'exact' stopped:sklearn.exceptions.ConvergenceWarning"
)
LEFT_OUT = pytest.mark.filterwarnings("ignore:.*are left out:UserWarning")


def with_gaps(seed=0, shape=(60, 20), rank=2, noise=NOISE, share=0.6):
    """Return a matrix of low rank, and with noise a share of its entries."""
    rng = np.random.default_rng(seed)
    truth = rng.standard_normal((shape[0], rank)) @ rng.standard_normal((rank, shape[1]))
    X = truth + noise * rng.standard_normal(shape)
    X[rng.random(shape) >= share] = np.nan
    return truth, X


def entries(X, kind=sp.csr_array):
    """Return what is not NaN, zeros too, as a sparse matrix."""
    rows, columns = np.nonzero(~np.isnan(X))
    return kind(sp.coo_array((X[rows, columns], (rows, columns)), shape=X.shape))


def completer(solver, rank=None, **params):
    if solver == "gibbs":
        params = {"max_iter": 15, **params}
    if rank is None:
        # The penalty is what keeps the rank of softimpute low.
        rank = "auto" if solver == "softimpute" else 2
    return MatrixCompleter(rank, solver=solver, **{"random_state": 0, **params})


def rms(errors):
    return np.sqrt(np.mean(np.square(errors)))


TRUTH, X = with_gaps()
MISSING = np.isnan(X)


# --- Dense data are filled in


@UNCONVERGED
@EACH_SOLVER
def test_missing_entries_come_near_the_truth_and_others_stay(solver, seed):
    truth, gaps = with_gaps(seed)
    missing = np.isnan(gaps)
    model = completer(solver).fit(gaps)
    filled = model.transform(gaps)
    np.testing.assert_array_equal(filled[~missing], gaps[~missing])
    # Least squares leave about the noise times sqrt(156 unknowns / 720 entries) = 0.5;
    # what is shrunk, or has biases to estimate that are zero, four times that at most.
    # The truth itself is some 14 times the noise.
    # Columns are standardised: "als" gives the noise of small ones as much weight.
    assert rms((filled - truth)[missing]) <= (3 if solver == "als" else 2) * NOISE
    assert model.solver_ == solver
    again = completer(solver).fit_transform(gaps)
    np.testing.assert_array_equal(again, filled)


@UNCONVERGED
@EACH_SOLVER
def test_the_default_rank_comes_near_the_truth(solver):
    model = completer(solver, "auto").fit(X)
    assert rms((model.transform(X) - TRUTH)[MISSING]) <= 3 * NOISE
    assert 1 <= model.rank_ <= 20


def test_the_default_solver_depends_on_the_data():
    assert MatrixCompleter(2, random_state=0).fit(X).solver_ == "em"
    assert MatrixCompleter(2, alpha=0.1, random_state=0).fit(X).solver_ == "als"
    assert completer("auto", max_iter=10).fit(entries(X)).solver_ == "gibbs"
    wide = np.random.default_rng(0).standard_normal((4, 301))
    wide[0, 0] = np.nan
    assert completer("auto", max_iter=10).fit(wide).solver_ == "gibbs"


@UNCONVERGED
@EACH_SOLVER
def test_new_rows_are_folded_in(solver):
    # Rows that are held back are like the others: the error is of the same size.
    model = completer(solver).fit(X[:45])
    filled = model.transform(X[45:])
    missing = MISSING[45:]
    np.testing.assert_array_equal(filled[~missing], X[45:][~missing])
    assert rms((filled - TRUTH[45:])[missing]) <= 3 * NOISE


@UNCONVERGED
@EACH_SOLVER
def test_a_row_is_filled_in_the_same_way_alone_and_among_others(solver):
    model = completer(solver).fit(X)
    filled = model.transform(X)
    for i in (0, 17):
        np.testing.assert_allclose(model.transform(X[i : i + 1])[0], filled[i], atol=1e-5)


@UNCONVERGED
@EACH_SOLVER
def test_the_order_of_rows_does_not_matter_to_transform(solver):
    model = completer(solver).fit(X)
    order = np.random.default_rng(0).permutation(60)
    np.testing.assert_allclose(model.transform(X[order]), model.transform(X)[order])


@UNCONVERGED
@EACH_SOLVER
def test_transform_does_not_change_its_input(solver):
    gaps = X.copy()
    model = completer(solver).fit(gaps)
    model.transform(gaps)
    model.score(gaps)
    np.testing.assert_array_equal(gaps, X)
    sparse = entries(X)
    data = sparse.data.copy()
    if solver != "em":
        completer(solver).fit(sparse).transform(sparse)
        np.testing.assert_array_equal(sparse.data, data)


@UNCONVERGED
@EACH_SOLVER
def test_complete_data_stay_as_they_are(solver):
    full = TRUTH + NOISE * np.random.default_rng(0).standard_normal(TRUTH.shape)
    model = completer(solver).fit(full)
    np.testing.assert_array_equal(model.transform(full), full)


@EACH_SOLVER
def test_equal_entries_are_filled_with_their_value(solver):
    same = np.where(MISSING, np.nan, 3.0)
    model = completer(solver, 1, tol=1e-6 if solver == "exact" else None).fit(same)
    # A penalty, and the noise of a sampler, leave a part of it.
    slack = 0.2 if solver == "softimpute" else 1e-2
    np.testing.assert_allclose(model.transform(same), 3.0, rtol=slack)


@UNCONVERGED
@EACH_SOLVER
def test_units_and_offset_of_the_data_do_not_matter(solver):
    model = completer(solver, center=True).fit(X)
    other = completer(solver, center=True).fit(1024 * X + 2.0**14)
    expected = 1024 * model.transform(X) + 2.0**14
    # To what stopping early leaves.
    np.testing.assert_allclose(other.transform(1024 * X + 2.0**14), expected, atol=30)


def test_neighbors_tell_what_is_not_linear():
    rng = np.random.default_rng(0)
    angle = rng.uniform(0, 2 * np.pi, 400)
    curve = np.column_stack([np.cos(k * angle + k) for k in range(1, 7)])
    gaps = np.where(rng.random(curve.shape) < 0.2, np.nan, curve)
    missing = np.isnan(gaps)
    errors = {
        near: rms((completer("em", 2, neighbors=near).fit_transform(gaps) - curve)[missing])
        for near in (True, False)
    }
    assert errors[True] <= 0.8 * errors[False]


# --- Missing values, indicators, empty columns


@pytest.mark.parametrize("value", [-1, -1.0, 1e6, np.float64(0.1)])
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_another_value_may_stand_for_missing(value, dtype):
    gaps = X.astype(dtype)
    coded = np.where(MISSING, dtype(value), gaps)
    ours = completer("als", missing_values=value).fit(coded)
    expected = completer("als").fit(gaps)
    np.testing.assert_array_equal(ours.transform(coded), expected.transform(gaps))
    # NaN is missing anyway.
    np.testing.assert_array_equal(ours.transform(gaps), expected.transform(gaps))


def test_integers_may_have_a_value_that_stands_for_missing():
    whole = np.where(MISSING, -99, np.round(10 * np.nan_to_num(X))).astype(int)
    filled = completer("als", missing_values=-99).fit_transform(whole)
    assert filled.dtype == np.float64
    np.testing.assert_array_equal(filled[~MISSING], whole[~MISSING])
    assert not (filled == -99).any()


def test_the_indicator_is_that_of_scikit_learn():
    gaps = X.copy()
    gaps[:, 4] = 1.0
    names = [f"c{j}" for j in range(20)]
    ours = completer("als", add_indicator=True).fit(gaps)
    theirs = SimpleImputer(add_indicator=True).fit(gaps)
    assert ours.get_feature_names_out().tolist() == theirs.get_feature_names_out().tolist()
    assert (
        ours.get_feature_names_out(names).tolist()
        == theirs.get_feature_names_out(names).tolist()
    )
    out = ours.transform(gaps)
    assert out.shape == (60, 39)
    np.testing.assert_array_equal(out[:, 20:], theirs.transform(gaps)[:, 20:])
    # A column without gaps in fit has no indicator later.
    later = gaps.copy()
    later[0, 4] = np.nan
    assert ours.transform(later).shape == (60, 39)


@LEFT_OUT
@pytest.mark.parametrize("keep", [False, True])
def test_an_empty_column_has_the_indicator_it_has_in_scikit_learn(keep):
    gaps = X.copy()
    gaps[:, 3] = np.nan
    params = {"add_indicator": True, "keep_empty_features": keep}
    ours = completer("als", **params).fit(gaps)
    theirs = SimpleImputer(**params).fit(gaps)
    assert ours.get_feature_names_out().tolist() == theirs.get_feature_names_out().tolist()
    assert ours.transform(gaps).shape == (60, len(ours.get_feature_names_out()))


@LEFT_OUT
@UNCONVERGED
@EACH_SOLVER
def test_columns_without_an_entry_are_left_out_or_zero(solver):
    gaps = np.insert(X, [0, 5, 20], np.nan, axis=1)
    empty = np.array([0, 6, 22])
    assert np.isnan(gaps[:, empty]).all()
    expected = completer(solver).fit(X)
    left = completer(solver).fit(gaps)
    kept = completer(solver, keep_empty_features=True).fit(gaps)
    filled = expected.transform(X)
    # The places of columns in memory change sums by rounding.
    close = partial(np.testing.assert_allclose, rtol=1e-12, atol=1e-14)
    close(left.transform(gaps), filled)
    whole = kept.transform(gaps)
    close(np.delete(whole, empty, axis=1), filled)
    assert (whole[:, empty] == 0).all()
    names = np.array([f"x{j}" for j in range(23)])
    assert kept.get_feature_names_out().tolist() == names.tolist()
    assert left.get_feature_names_out().tolist() == np.delete(names, empty).tolist()
    for model in (left, kept):
        assert model.n_features_in_ == 23
        assert model.column_biases_.shape == (20,)
        assert model.column_factors_.shape[0] == 20
        assert model.components_.shape == (model.rank_, 20)
        # Columns go by their number in the data.
        i, j = np.nonzero(~np.isnan(gaps))
        places = np.searchsorted(np.delete(np.arange(23), empty), j)
        close(
            model.predict_entries(i, j),
            expected.predict_entries(i, places),
        )
        assert model.predict_entries([3, 3, 3], [0, 6, 22]).tolist() == [0, 0, 0]
        whole = model.predict(gaps)
        close(np.delete(whole, empty, axis=1), expected.predict(X))
        assert (whole[:, empty] == 0).all()
        columns, _ = model.recommend(np.arange(60), 23, exclude_seen=False)
        assert sorted(columns[0, :20]) == np.delete(np.arange(23), empty).tolist()
        assert (columns[:, 20:] == -1).all()
        assert model.score(gaps) == expected.score(X)
    # What is there later in such a column is left alone.
    later = gaps.copy()
    later[2, 0] = 7
    assert kept.transform(later)[2, 0] == 7


@LEFT_OUT
@pytest.mark.parametrize("solver", ["als", "gibbs"])
def test_a_model_of_dense_data_with_empty_columns_takes_sparse_rows(solver):
    gaps = np.insert(X, [0, 5], np.nan, axis=1)
    model = completer(solver).fit(gaps)
    sparse = entries(gaps)
    for ours, expected in zip(model.fold_in(sparse), model.fold_in(gaps), strict=True):
        np.testing.assert_array_equal(ours, expected)
    for ours, expected in zip(
        model.recommend(sparse, 4), model.recommend(gaps, 4), strict=True
    ):
        np.testing.assert_array_equal(ours, expected)
    np.testing.assert_allclose(
        model.transform(sparse), completer(solver).fit(X).transform(entries(X))
    )


def test_columns_that_are_left_out_are_named():
    gaps = np.insert(X, [0, 5], np.nan, axis=1)
    with pytest.warns(UserWarning, match=r"Column\(s\) 0, 6 of X have no known entry"):
        completer("als").fit(gaps)
    frame = pd.DataFrame(gaps, columns=[f"item {j}" for j in range(22)])
    with pytest.warns(UserWarning, match=r"Column\(s\) 'item 0', 'item 6' of X"):
        completer("als").fit(frame)
    with pytest.warns(UserWarning, match=r"Column\(s\) 0, 1, .*, 9 and 2 more of X"):
        completer("als").fit(np.insert(X, [0] * 12, np.nan, axis=1))
    # Nothing is left out, so that there is nothing to tell.
    completer("als", keep_empty_features=True).fit(gaps)
    completer("als").fit(entries(gaps))


def test_a_row_without_any_entry_is_filled_with_what_is_expected_of_any():
    gaps = X.copy()
    gaps[7] = np.nan
    for solver in ("em", "gibbs", "als", "softimpute"):
        model = completer(solver, center=True).fit(gaps)
        filled = model.transform(gaps)
        assert np.isfinite(filled).all()
        np.testing.assert_array_equal(
            model.transform(np.full((2, 20), np.nan)), filled[[7, 7]]
        )
        # Nothing tells a large entry.
        assert np.abs(filled[7]).max() <= np.nanmax(np.abs(gaps))


@LEFT_OUT
def test_one_row_and_one_column_are_completed():
    row = np.array([[1.0, np.nan, 2.0, 3.0]])
    for solver in ("auto", "gibbs", "als"):
        model = completer(solver, 1).fit(row)
        # Its column has no entry.
        np.testing.assert_array_equal(model.transform(row), row[:, [0, 2, 3]])
        model = completer(solver, 1).fit(row.T)
        filled = model.transform(row.T)
        np.testing.assert_array_equal(filled[[0, 2, 3]], row.T[[0, 2, 3]])
        assert 0.5 <= filled[1, 0] <= 3.5


# --- In a workflow


def test_it_imputes_before_a_classifier():
    rng = np.random.default_rng(0)
    truth, gaps = with_gaps(0, (120, 12))
    y = truth[:, 0] + 0.2 * rng.standard_normal(120) > 0
    pipe = make_pipeline(MatrixCompleter(2, random_state=0), LogisticRegression())
    scores = cross_val_score(pipe, gaps, y, cv=3)
    # Of 120, chance gets more than 0.7 right with probability 1e-5.
    assert scores.mean() > 0.7


@pytest.mark.parametrize("of", [np.asarray, entries], ids=["dense", "sparse"])
def test_a_grid_search_without_a_target_finds_the_rank(of):
    _, gaps = with_gaps(1, (90, 24), rank=3, share=0.7)
    # Without a penalty to speak of, a rank too large does harm.
    model = completer("als", alpha=1e-3, center=False)
    search = GridSearchCV(model, {"rank": [1, 2, 3, 8]}, cv=3).fit(of(gaps))
    assert search.best_params_ == {"rank": 3}
    assert search.best_score_ > 0.9
    assert search.best_estimator_.rank_ == 3


def test_a_grid_search_of_the_default_solver_finds_enough_rank():
    _, gaps = with_gaps(1, (90, 24), rank=3, share=0.7)
    search = GridSearchCV(MatrixCompleter(random_state=0), {"rank": [1, 2, 3, 6]}, cv=3)
    search.fit(gaps)
    # More than enough does little harm there.
    assert search.best_params_["rank"] >= 3
    scores = search.cv_results_["mean_test_score"]
    assert scores[2] > scores[1] > scores[0]


def test_stopping_early_comes_near_the_truth_too():
    model = completer("als", early_stopping=True, validation_fraction=0.1).fit(X)
    assert rms((model.transform(X) - TRUTH)[MISSING]) <= 3 * NOISE
    assert model.held_out_error_ <= 4 * NOISE


@pytest.mark.parametrize("solver", ["em", "gibbs", "als"])
def test_copies_and_pickles_are_the_same(solver):
    model = completer(solver).fit(X)
    again = pickle.loads(pickle.dumps(model))
    np.testing.assert_array_equal(again.transform(X), model.transform(X))
    np.testing.assert_array_equal(
        again.predict_entries([1], [2]), model.predict_entries([1], [2])
    )
    copy = clone(model)
    assert copy.get_params() == model.get_params() or np.isnan(copy.missing_values)
    with pytest.raises(NotFittedError):
        copy.transform(X)
    np.testing.assert_array_equal(copy.fit_transform(X), model.transform(X))


def test_parameters_are_kept_as_given():
    model = MatrixCompleter()
    params = {
        "rank": 3,
        "solver": "als",
        "alpha": 0.5,
        "reg_power": 0.5,
        "center": False,
        "neighbors": False,
        "max_iter": 7,
        "tol": 0.1,
        "validation_fraction": 0.2,
        "early_stopping": True,
        "clip": True,
        "missing_values": -1,
        "add_indicator": True,
        "keep_empty_features": True,
        "warm_start": True,
        "n_jobs": 2,
        "random_state": 5,
    }
    assert set(model.get_params()) == set(params)
    assert model.set_params(**params).get_params() == params


@UNCONVERGED
@EACH_SOLVER
@pytest.mark.parametrize("of", [np.asarray, entries], ids=["dense", "sparse"])
def test_a_seed_makes_it_reproducible_on_any_number_of_threads(solver, of):
    if solver == "em" and of is entries:
        pytest.skip("em takes dense data")
    data = of(X)
    first, *others = [completer(solver, n_jobs=n_jobs).fit(data) for n_jobs in (1, 1, 2)]
    for other in others:
        np.testing.assert_array_equal(other.transform(data), first.transform(data))
        np.testing.assert_array_equal(other.row_factors_, first.row_factors_)
        assert other.history_.tolist() == first.history_.tolist()
        assert other.score(data) == first.score(data)


def test_a_random_state_is_drawn_from_and_others_draw_otherwise():
    models = [completer("gibbs", random_state=s).fit(X) for s in (0, 1)]
    assert (models[0].row_factors_ != models[1].row_factors_).any()
    states = [np.random.RandomState(3) for _ in range(2)]
    one, two = (completer("gibbs", random_state=s).fit(X) for s in states)
    np.testing.assert_array_equal(one.row_factors_, two.row_factors_)
    assert (
        completer("gibbs", random_state=states[0]).fit(X).row_factors_ != one.row_factors_
    ).any()


@EACH_SOLVER
@pytest.mark.parametrize("error", [KeyboardInterrupt, MemoryError])
def test_an_interrupted_fit_leaves_the_model_it_had(solver, error, monkeypatch):
    tol = 1.0 if solver == "exact" else None
    model = completer(solver, tol=tol, add_indicator=True).fit(X)
    before, filled = vars(model).copy(), model.transform(X)

    def interrupt(*_):
        raise error

    # Near the end of a fit.
    monkeypatch.setattr(LowRankModel, "svd", interrupt)
    with pytest.raises(error):
        model.set_params(rank=1).fit(X[:30, :10])
    model.set_params(rank=before["rank"])
    assert vars(model).keys() == before.keys()
    assert all(vars(model)[key] is before[key] for key in before)
    np.testing.assert_array_equal(model.transform(X), filled)
    fresh = completer(solver, tol=tol)
    params = vars(fresh).copy()
    with pytest.raises(error):
        fresh.fit(X)
    assert vars(fresh).keys() == params.keys()


class Callback:
    """Counts iterations; in the given one it raises, or asks to stop."""

    def __init__(self, count=None, error=None):
        self.tasks, self.count, self.error = [], count, error

    def setup(self, estimator, context):
        pass

    def on_fit_task_begin(self, estimator, context, **kwargs):
        self.tasks.append(context.task_name)

    def on_fit_task_end(self, estimator, context, **kwargs):
        there = self.tasks.count("iteration") == self.count
        if there and self.error is not None:
            raise self.error
        return there

    def teardown(self, estimator, context):
        pass


@UNCONVERGED
@EACH_SOLVER
def test_callbacks_see_iterations_and_may_interrupt_them(solver):
    pytest.importorskip("sklearn.callback")
    counter = Callback()
    model = completer(solver)
    model.set_callbacks(counter).fit(X)
    expected = completer(solver).fit(X)
    assert counter.tasks.count("iteration") >= 1
    if solver == "gibbs":
        assert counter.tasks.count("iteration") == model.n_iter_
    filled = model.transform(X)
    np.testing.assert_array_equal(filled, expected.transform(X))
    with pytest.raises(KeyboardInterrupt):
        model.set_callbacks(Callback(1, KeyboardInterrupt())).fit(X[:30, :10])
    np.testing.assert_array_equal(model.transform(X), filled)
    assert model.n_features_in_ == 20


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@EACH_SOLVER
def test_a_callback_may_stop_a_fit_that_is_a_model_then(solver):
    pytest.importorskip("sklearn.callback")
    whole = completer(solver).fit(X)
    model = completer(solver)
    model.set_callbacks(Callback(8 if solver == "gibbs" else 2)).fit(X)
    filled = model.transform(X)
    assert np.isfinite(filled).all()
    np.testing.assert_array_equal(filled[~MISSING], X[~MISSING])
    assert model.n_iter_ <= whole.n_iter_


@pytest.mark.parametrize("solver", ["em", "als", "softimpute", "exact", "iterative_svd"])
def test_too_few_iterations_are_warned_of(solver):
    with pytest.warns(
        ConvergenceWarning, match=rf"'{solver}' stopped after .*max_iter .now 1"
    ):
        completer(solver, max_iter=1).fit(X)


def test_the_nuclear_norm_may_have_a_largest_rank():
    model = completer("softimpute", 2).fit(X)
    assert model.rank_ <= 2
    assert rms((model.transform(X) - TRUTH)[MISSING]) <= 3 * NOISE


@UNCONVERGED
@EACH_SOLVER
def test_the_history_is_of_the_iterations(solver):
    model = completer(solver).fit(X)
    # Of those alone that its measure is of, with "em" and "als".
    assert 0 < len(model.history_) <= model.n_iter_
    if solver not in ("em", "als"):
        assert len(model.history_) == model.n_iter_
    assert np.isfinite(model.history_).all()


@UNCONVERGED
@ON_ENTRIES
def test_the_history_is_the_measure_that_the_solver_is_said_to_have(solver):
    model = completer(solver).fit(entries(X))
    whole = model.predict(X)
    left, last = (X - whole)[~MISSING], model.history_[-1]
    total = np.nansum(np.square(X))
    if solver == "gibbs":
        # Of entries seen, in one sample.
        assert 0.5 * NOISE <= last <= 2 * NOISE
    elif solver == "als":
        # Of entries held out, which are less than their spread from the first on.
        assert model.history_.max() <= 2 * np.nanstd(X)
        # The errors stated are those of all entries in turn, as these are few.
        assert model.history_.min() == pytest.approx(model.held_out_error_, rel=0.5)
    elif solver == "iterative_svd":
        assert last == pytest.approx(np.square(left).sum() / total, rel=1e-3)
    elif solver == "softimpute":
        penalty = model.alpha_ * np.linalg.norm(np.where(MISSING, 0, X), 2)
        objective = np.square(left).sum() / 2 + penalty * model.singular_values_.sum()
        assert last == pytest.approx(2 * objective / total, rel=1e-3)
    else:
        relative = np.linalg.norm(left) / np.linalg.norm(X[~MISSING])
        assert last == pytest.approx(relative, rel=0.05)


@pytest.mark.parametrize("solver", ["gibbs", "als"])
def test_a_warm_start_goes_on_from_the_model_before(solver):
    cold = completer(solver, max_iter=12 if solver == "gibbs" else None).fit(X)
    warm = clone(cold).set_params(warm_start=True).fit(X)
    np.testing.assert_array_equal(warm.row_factors_, cold.row_factors_)
    warm.fit(X)
    # It starts near where it stops.
    assert warm.history_[0] < cold.history_[0]
    assert rms((warm.transform(X) - TRUTH)[MISSING]) <= 3 * NOISE


@pytest.mark.parametrize("solver", ["gibbs", "als"])
@pytest.mark.parametrize(
    "other",
    [X[:40], X[:, :12], X[:, :12].T, X.astype(np.float32)],
    ids=["rows", "columns", "both", "dtype"],
)
def test_a_warm_start_ignores_a_model_of_another_shape(solver, other):
    warm = completer(solver, warm_start=True).fit(X).fit(other)
    filled = warm.transform(other)
    assert filled.shape == other.shape
    assert np.isfinite(filled).all()
    if other.shape != X.shape:
        cold = completer(solver).fit(other)
        np.testing.assert_array_equal(filled, cold.transform(other))


def test_a_warm_start_may_change_rank_and_solver():
    model = completer("als", warm_start=True).fit(X)
    model.set_params(rank=3).fit(X)
    assert model.rank_ == 3
    model.set_params(solver="gibbs", max_iter=10).fit(X)
    assert rms((model.transform(X) - TRUTH)[MISSING]) <= 3 * NOISE
    model.set_params(solver="em", max_iter=None).fit(X)
    model.set_params(solver="als").fit(X)
    assert rms((model.transform(X) - TRUTH)[MISSING]) <= 3 * NOISE


# --- Units of columns


def mixed_units(p, seed=0):
    """Return a table of rank 3 and noise, in many units, with a column of time stamps."""
    rng = np.random.default_rng(seed)
    A = rng.standard_normal((300, 3)) @ rng.standard_normal((3, p))
    A += 0.3 * A.std(axis=0) * rng.standard_normal(A.shape)
    A *= 10.0 ** rng.uniform(-4, 4, p)
    A[:, 0] = 1.7e9 + 1e5 * A[:, 0] / A[:, 0].std()
    return A, np.where(rng.random(A.shape) < 0.1, np.nan, A)


@pytest.mark.parametrize("solver", ["auto", "em", "gibbs", "als", "softimpute"])
@pytest.mark.parametrize(("p", "dtype"), [(12, np.float64), (301, np.float32)])
def test_columns_of_other_units_spoil_none(solver, p, dtype):
    truth, gaps = mixed_units(p)
    missing, spread = np.isnan(gaps), np.nanstd(gaps, axis=0)
    model = completer(solver, 3).fit(gaps.astype(dtype))
    errors = np.where(missing, model.transform(gaps.astype(dtype)) - truth, np.nan)
    of_columns = np.sqrt(np.nanmean(np.square(errors / spread), axis=0))
    # The noise is 0.29 of the spread; a column has some 30 missing entries.
    assert of_columns.max() < 0.8
    assert rms((errors / spread)[missing]) <= model.error_estimate_ < 0.7
    assert model.column_errors_.shape == (p,)
    covered = of_columns * spread <= model.column_errors_
    assert covered.mean() >= 0.85
    i, j = np.nonzero(missing)
    if not model._completion.filler:
        pairs = model.predict_entries(i, j)
        assert np.abs(pairs - truth[i, j] - errors[i, j]).max() <= 1e-2 * spread[j].max()


@UNCONVERGED
@pytest.mark.filterwarnings(
    "ignore:The solver 'softimpute':sklearn.exceptions.ConvergenceWarning"
)
def test_units_of_columns_hardly_matter():
    truth, gaps = with_gaps(0, (80, 12))
    missing, units = np.isnan(gaps), 2.0 ** np.arange(-18, 18, 3)
    for solver in ("em", "gibbs", "als", "softimpute", "iterative_svd"):
        one = completer(solver).fit(gaps).transform(gaps)
        other = completer(solver).fit(gaps * units).transform(gaps * units) / units
        # Means and scales of columns that have one unit are shrunk, those of many are not.
        bound = 1.3 * rms((one - truth)[missing])
        assert rms((other - truth)[missing]) <= bound


# --- What is estimated


@pytest.mark.parametrize("kind", ["heavy rows", "heavy entries", "clusters"])
def test_the_stated_error_covers_that_of_what_is_filled_in(kind):
    covered, n_seeds = 0, 25
    for seed in range(n_seeds):
        rng = np.random.default_rng(seed)
        A = rng.standard_normal((200, 2)) @ rng.standard_normal((2, 6))
        A += 0.3 * rng.standard_normal(A.shape)
        if kind == "heavy rows":
            A *= np.exp(rng.standard_normal((200, 1)))
        elif kind == "heavy entries":
            A += rng.standard_t(4, A.shape)
        else:
            A = rng.standard_normal((8, 6))[rng.integers(8, size=200)] + 0.1 * A
        missing = rng.random(A.shape) < 0.1
        gaps = np.where(missing, np.nan, A)
        model = MatrixCompleter(random_state=seed).fit(gaps)
        left = (model.transform(gaps) - A) / np.nanstd(gaps, axis=0)
        covered += rms(left[missing]) <= model.error_estimate_
    # 0.95 of 25 has 20 at least with probability 0.999.
    assert covered >= 20


def test_tiny_tables_are_filled_no_worse_than_by_means_and_say_so():
    squares, of_means, covered = [], [], 0
    for seed in range(30):
        rng = np.random.default_rng(seed)
        A = rng.standard_normal((25, 4))
        missing = rng.random(A.shape) < 0.2
        gaps = np.where(missing, np.nan, A)
        model = MatrixCompleter(random_state=seed).fit(gaps)
        filled, spread = model.transform(gaps), np.nanstd(gaps, axis=0)
        squares.append(np.square((filled - A) / spread)[missing].mean())
        means = np.nanmean(gaps, axis=0)
        of_means.append(np.square((means - A) / spread)[missing].mean())
        covered += squares[-1] <= model.error_estimate_**2
    # Noise has nothing to be told by.
    assert np.mean(squares) <= 1.05 * np.mean(of_means)
    assert covered >= 25


@UNCONVERGED
@pytest.mark.parametrize("solver", ["em", "als", "softimpute", "exact", "iterative_svd"])
def test_the_error_estimate_is_of_the_size_of_the_error(solver, seed):
    truth, gaps = with_gaps(seed, (120, 40))
    model = completer(solver, validation_fraction=0.1).fit(gaps)
    missing = np.isnan(gaps)
    observable = truth + NOISE * np.random.default_rng(seed + 9).standard_normal(
        truth.shape
    )
    left = (model.transform(gaps) - observable) / np.nanstd(gaps, axis=0)
    actual = rms(left[missing])
    # Of about 290 entries, the mean square is within a half with probability 1 - 1e-8.
    assert 0.5 * actual <= model.held_out_error_ <= 2 * actual
    assert actual <= model.error_estimate_ <= 5 * actual


def test_without_entries_held_out_there_is_no_estimate():
    for solver in ("gibbs", "als"):
        assert np.isnan(completer(solver, validation_fraction=0).fit(X).error_estimate_)


@UNCONVERGED
@EACH_SOLVER
def test_components_are_singular_vectors_of_the_factors(solver):
    model = completer(solver).fit(X)
    product = model.row_factors_ @ model.column_factors_.T
    k = model.rank_
    _, s, Vt = np.linalg.svd(product)
    np.testing.assert_allclose(model.singular_values_, s[:k], rtol=1e-6)
    V = model.components_
    assert V.shape == (k, 20)
    np.testing.assert_allclose(V @ V.T, np.eye(k), atol=1e-9)
    np.testing.assert_allclose(np.abs(np.sum(V * Vt[:k], axis=1)), 1, rtol=1e-6)


@UNCONVERGED
@EACH_SOLVER
def test_fitted_attributes_have_the_shapes_they_should(solver):
    model = completer(solver).fit(X)
    k = model.row_factors_.shape[1]
    assert isinstance(model.offset_, float)
    assert model.row_biases_.shape == (60,)
    assert model.column_biases_.shape == (20,)
    assert model.column_factors_.shape == (20, k)
    # Biases of rows are in standardised units: they are a factor more.
    d = k - (solver in ("als", "gibbs"))
    assert d == model.rank_ if solver != "gibbs" else d % model.rank_ == 0
    assert isinstance(model.rank_, int)
    assert isinstance(model.n_iter_, int)
    assert (model.alpha_ is None) == (solver not in ("als", "softimpute"))
    assert model.n_features_in_ == 20


@pytest.mark.parametrize("solver", ["softimpute", "exact", "iterative_svd", "als"])
def test_without_biases_they_are_zero(solver):
    model = completer(solver, center=False, tol=1.0 if solver == "exact" else None).fit(X)
    assert model.offset_ == 0
    assert not model.row_biases_.any()
    assert not model.column_biases_.any()


def test_a_penalty_from_one_leaves_nothing():
    model = completer("softimpute", alpha=1.0, center=False).fit(X)
    assert model.rank_ == 0
    assert model.alpha_ == 1.0
    np.testing.assert_array_equal(model.transform(X), np.where(MISSING, 0, X))
    assert completer("softimpute", alpha=0.9).fit(X).rank_ >= 1


def test_the_penalty_of_the_nuclear_norm_is_minimised():
    alpha = 0.1
    model = completer("softimpute", alpha=alpha, tol=1e-9).fit(entries(X))
    M = model.row_factors_ @ model.column_factors_.T
    residual = np.where(MISSING, 0, X - M)
    penalty = alpha * np.linalg.norm(np.where(MISSING, 0, X), 2)
    # Of the optimum: R / penalty is a subgradient of the nuclear norm at M.
    assert np.linalg.norm(residual, 2) <= penalty * (1 + 1e-3)
    total = np.linalg.svd(M, compute_uv=False).sum()
    assert np.vdot(residual, M) == pytest.approx(penalty * total, rel=1e-3)


@pytest.mark.parametrize("power", [0.0, 1.0])
def test_the_penalty_of_als_is_minimised(power):
    alpha = 0.05
    model = completer(
        "als", alpha=alpha, reg_power=power, center=False, tol=1e-12, max_iter=3000
    ).fit(entries(X))
    U, V = model.row_factors_, model.column_factors_
    residual = np.where(MISSING, 0, X - U @ V.T)
    rows, columns = (~MISSING).sum(axis=1), (~MISSING).sum(axis=0)
    of_rows = residual @ V - alpha * rows[:, None] ** power * U
    of_columns = residual.T @ U - alpha * columns[:, None] ** power * V
    assert np.abs(of_rows).max() <= 1e-8
    # What is left by stopping.
    assert np.abs(of_columns).max() <= 1e-2


# --- Entries of the model


@UNCONVERGED
@EACH_SOLVER
@pytest.mark.parametrize("of", [np.asarray, entries], ids=["dense", "sparse"])
def test_entries_are_what_the_attributes_say(solver, of):
    if solver == "em" and of is entries:
        pytest.skip("em takes dense data")
    data = of(X)
    model = completer(solver).fit(data)
    pairs = np.argwhere(np.ones(X.shape))
    whole = model.offset_ + model.row_biases_[:, None] + model.column_biases_
    whole = whole + model.row_factors_ @ model.column_factors_.T
    found = model.predict_entries(*pairs.T)
    np.testing.assert_allclose(found, whole.ravel(), atol=1e-12)
    np.testing.assert_allclose(model.predict(X), whole, atol=1e-10)
    assert rms(found - TRUTH.ravel()) <= 3 * NOISE
    if of is np.asarray:
        filled = clone(model).set_params(neighbors=False).fit_transform(X)
        np.testing.assert_allclose(filled[MISSING], whole[MISSING], atol=1e-10)
    rows = model.fold_in(data)
    np.testing.assert_allclose(rows.biases, model.row_biases_, atol=1e-12)
    np.testing.assert_allclose(rows.factors, model.row_factors_, atol=1e-10)
    # Of factors that are more than the rank, components are the leading part.
    if model.row_factors_.shape[1] == model.rank_:
        scores = model.transform(entries(X))
        assert scores.shape == (60, model.rank_)
        again = scores @ model.components_ + model.offset_ + model.column_biases_
        again += rows.biases[:, None]
        np.testing.assert_allclose(again, whole, atol=1e-10)


@pytest.mark.parametrize(
    "pairs",
    [
        [[3, 4], [0, 0]],
        ((3, 4), (0, 0)),
        np.array([[3, 4], [0, 0]], np.uint8),
        np.asfortranarray(np.array([[3, 4], [0, 0]], np.int32)),
    ],
    ids=["list", "tuple", "uint8", "fortran"],
)
def test_pairs_may_be_any_integers(pairs):
    model = completer("als").fit(X)
    i, j = np.array(pairs).T.astype(int)
    expected = model.row_factors_[i] * model.column_factors_[j]
    expected = expected.sum(axis=1) + model.offset_
    expected += model.row_biases_[i] + model.column_biases_[j]
    np.testing.assert_allclose(model.predict_entries(*np.transpose(pairs)), expected)
    assert model.predict_entries([], []).shape == (0,)


def test_standard_deviations_cover_new_observations(seed):
    truth, gaps = with_gaps(seed, (80, 30))
    model = completer("gibbs", max_iter=40, random_state=seed).fit(gaps)
    pairs = np.argwhere(np.isnan(gaps))
    mean, std = model.predict_entries(*pairs.T, return_std=True)
    np.testing.assert_array_equal(mean, model.predict_entries(*pairs.T))
    assert std.shape == mean.shape
    assert (std > 0).all()
    new = truth[tuple(pairs.T)] + NOISE * np.random.default_rng(seed + 5).standard_normal(
        len(pairs)
    )
    # 95 % intended, of some 960; the posterior is itself estimated.
    assert 0.85 <= np.mean(np.abs(new - mean) <= 1.96 * std) <= 0.999


@pytest.mark.filterwarnings("ignore:The solver .* stopped")
@EACH_SOLVER
def test_predictions_stay_in_the_range_of_the_entries_if_asked_to(solver):
    gaps = np.where(np.abs(X) > 2, np.nan, X)
    model = completer(solver).fit(gaps)
    free, filled = model.predict(gaps), model.transform(gaps)
    model.set_params(clip=True)
    low, high = np.nanmin(gaps), np.nanmax(gaps)
    np.testing.assert_array_equal(model.predict(gaps), free.clip(low, high))
    np.testing.assert_array_equal(model.transform(gaps), filled.clip(low, high))
    assert free.max() > high
    assert (model.predict_entries(*np.nonzero(free > high + 1e-9)) == high).all()


def test_an_entry_of_a_row_of_few_is_less_certain():
    gaps = X.copy()
    gaps[0, 1:] = np.nan
    gaps[0, 0] = 1.0
    _, std = completer("gibbs").fit(gaps).predict_entries([0, 1], [3, 3], return_std=True)
    assert std[0] > std[1]


@pytest.mark.parametrize("solver", ["em", "als", "softimpute"])
def test_only_samples_tell_a_standard_deviation(solver):
    model = completer(solver).fit(X)
    with pytest.raises(
        ValueError, match=rf"return_std=True needs solver='gibbs'.*{solver}"
    ):
        model.predict_entries([0], [0], return_std=True)


@UNDETERMINED
@UNCONVERGED
@EACH_SOLVER
@pytest.mark.parametrize("exclude", [True, False])
@pytest.mark.parametrize("new", [True, False])
@pytest.mark.parametrize("n", [1, 5, 25])
def test_the_largest_entries_are_recommended(solver, exclude, new, n):
    gaps = X.copy()
    gaps[5] = np.nan
    gaps[6] = TRUTH[6]
    model = completer(solver).fit(gaps)
    which = np.array([6, 5, 0, 59, 6])
    folded = model.fold_in(gaps[which])
    whole = model.offset_ + folded.biases[:, None] + model.column_biases_
    whole = whole + folded.factors @ model.column_factors_.T
    if exclude:
        whole[~np.isnan(gaps[which])] = -np.inf
    columns, scores = model.recommend(
        gaps[which] if new else which, n=n, exclude_seen=exclude
    )
    assert columns.shape == scores.shape == (5, n)
    order = np.argsort(-whole, axis=1, kind="stable")[:, :n]
    expected = np.take_along_axis(whole, order, axis=1)
    found = np.isfinite(expected)
    np.testing.assert_array_equal(columns[:, :20][found], order[found])
    np.testing.assert_allclose(scores[:, :20][found], expected[found], atol=1e-10)
    assert (columns[:, :20][~found] == -1).all()
    assert (scores[:, :20][~found] == -np.inf).all()
    assert (columns[:, 20:] == -1).all()
    assert (scores[:, 20:] == -np.inf).all()


def test_sparse_rows_are_recommended_as_dense_ones_are():
    model = completer("gibbs").fit(entries(X))
    for new, dense in zip(
        model.recommend(entries(X[:7]), 4), model.recommend(np.arange(7), 4), strict=True
    ):
        np.testing.assert_allclose(new, dense)
    assert model.recommend([3])[0].shape == (1, 10)
    for new, dense in zip(
        model.recommend(X[:7], 4), model.recommend(list(range(7)), 4), strict=True
    ):
        np.testing.assert_allclose(new, dense)


@EACH_SOLVER
@pytest.mark.parametrize("of", [np.asarray, entries], ids=["dense", "sparse"])
def test_a_matrix_of_low_rank_has_a_score_near_one(solver, of):
    if solver == "em" and of is entries:
        pytest.skip("em takes dense data")
    _, gaps = with_gaps(0, noise=0, share=0.8)
    model = completer(solver, alpha=1e-3 if solver in ("als", "softimpute") else None)
    model = model.fit(of(gaps))
    score = model.score(of(gaps))
    assert 0.95 < score <= 1
    assert model.score(of(gaps)) == score
    noise = np.random.default_rng(0).standard_normal(gaps.shape)
    assert model.score(of(noise)) < 0.5


def test_the_score_does_not_know_what_it_hides():
    # Of two entries in a row, the one hidden is unrelated to the one seen.
    rng = np.random.default_rng(0)
    noise = rng.standard_normal((200, 8))
    model = completer("gibbs").fit(noise[:100])
    # R^2 of a prediction by means is about zero.
    assert model.score(noise[100:]) < 0.2


# --- Places of the entries


def test_places_of_entries_are_described():
    gaps = np.full((7, 6), np.nan)
    gaps[:3, :3] = 1.0
    gaps[3:5, 3:5] = 1.0
    gaps[6, 0] = 1.0
    model = completer("gibbs", 1, max_iter=5).fit(entries(gaps))
    sampling = model.describe_sampling()
    assert sampling.entries_per_row.tolist() == [3, 3, 3, 2, 2, 0, 1]
    assert sampling.entries_per_column.tolist() == [4, 3, 3, 2, 2, 0]
    assert sampling.n_components == 2
    assert sampling.component_of_row.tolist() == [0, 0, 0, 1, 1, -1, 0]
    assert sampling.component_of_column.tolist() == [0, 0, 0, 1, 1, -1]
    assert sampling.oversampling == pytest.approx(14 / 12)
    assert len(sampling.coherence) == 2
    assert all(np.isfinite(c) and c >= 1 - 1e-9 for c in sampling.coherence)


def blocks():
    U, V = (np.random.default_rng(0).standard_normal((n, 1)) for n in (14, 12))
    gaps = U @ V.T
    gaps[:8, 8:] = np.nan
    gaps[8:, :8] = np.nan
    return gaps


@UNCONVERGED
@pytest.mark.parametrize("solver", ["exact", "iterative_svd"])
def test_a_graph_that_falls_apart_is_warned_of_with_the_places(solver):
    with pytest.warns(UserWarning, match=r"2 groups .* rows 8, 9, 10, 11, 12 and 1 more"):
        completer(solver, 1).fit(blocks())


def test_rows_with_fewer_entries_than_the_rank_are_warned_of_with_the_places():
    gaps = with_gaps(0, noise=0)[1]
    gaps[[4, 9], 1:] = np.nan
    gaps[[4, 9], 0] = 1.0
    gaps[1:, 3] = np.nan
    gaps[0, 3] = 1.0
    with pytest.warns(UserWarning, match="rank 2") as caught:
        completer("exact").fit(gaps)
    (message,) = [str(w.message) for w in caught if w.category is UserWarning]
    assert "ows 4, 9 have fewer entries than the rank 2" in message
    assert "olumn 3 has fewer entries than the rank 2" in message
    assert caught[0].filename == __file__


@LEFT_OUT
def test_columns_are_named_by_their_number_in_the_data():
    gaps = with_gaps(0, noise=0)[1]
    gaps[1:, 3] = np.nan
    gaps[0, 3] = 1.0
    gaps = np.insert(gaps, 0, np.nan, axis=1)
    with pytest.warns(UserWarning, match=r"olumn 4 has fewer entries"):
        completer("exact").fit(gaps)


def test_fewer_entries_than_unknowns_are_warned_of():
    _, gaps = with_gaps(0, noise=0, share=0.2)
    with pytest.warns(UserWarning, match=r"entries for each degree of freedom of rank 5"):
        completer("exact", 5, tol=1.0).fit(gaps)


@pytest.mark.parametrize("solver", ["gibbs", "als", "em", "softimpute"])
def test_solvers_that_shrink_do_not_warn(solver):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model = completer(solver).fit(blocks())
    assert model.describe_sampling().n_components == 2
    assert np.isfinite(model.transform(blocks())).all()


@pytest.mark.parametrize("draw", range(6))
def test_few_entries_of_a_matrix_of_rank_two_recover_it(draw):
    # Three times as many as degrees of freedom, 2 (40 + 30 - 2).
    rng = np.random.default_rng(100 + draw)
    truth = rng.standard_normal((40, 2)) @ rng.standard_normal((2, 30))
    gaps = np.full(truth.size, np.nan)
    seen = rng.permutation(truth.size)[: 3 * 136]
    gaps[seen] = truth.ravel()[seen]
    gaps = gaps.reshape(truth.shape)
    # Else, with probability 2 % for a matrix, it is not determined or nearly not.
    assert min((~np.isnan(gaps)).sum(axis=axis).min() for axis in (0, 1)) >= 3
    for data in (gaps, entries(gaps)):
        model = completer("exact", random_state=draw).fit(data)
        found = model.predict(gaps)
        assert np.linalg.norm(found - truth) <= 1e-6 * np.linalg.norm(truth)
    assert model.describe_sampling().oversampling == pytest.approx(3)
    filled = completer("exact", "auto", random_state=draw).fit(gaps)
    assert filled.rank_ == 2
    np.testing.assert_allclose(filled.transform(gaps), truth, atol=1e-6)
