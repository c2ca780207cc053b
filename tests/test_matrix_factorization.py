"""MatrixFactorizationRegressor: values of pairs of identifiers."""

import pickle

import numpy as np
import pandas as pd
import polars as pl
import pytest
import scipy.sparse as sp
from sklearn.base import clone, is_regressor
from sklearn.exceptions import ConvergenceWarning, NotFittedError
from sklearn.model_selection import GridSearchCV, KFold, cross_val_predict, cross_val_score

from sklearn_rnla import MatrixCompleter, MatrixFactorizationRegressor
from sklearn_rnla.linalg.completion.model import LowRankModel
from tests.sources import NAMES_IN_POLARS

SOLVERS = ["gibbs", "als", "softimpute", "exact", "iterative_svd"]
EACH_SOLVER = pytest.mark.parametrize("solver", SOLVERS)
# The penalty keeps the rank of softimpute low. Without biases, the mean is one more.
RANKS = {"softimpute": "auto", "exact": 3, "iterative_svd": 3}
NOISE = 0.1
# Entries with noise are not recovered exactly.
UNCONVERGED = pytest.mark.filterwarnings(
    "ignore:The solver .* stopped:sklearn.exceptions.ConvergenceWarning"
)
M, N = 50, 25


def entries(seed=0, rank=2, noise=NOISE, share=0.6, center=3.0):
    """Return the truth, and pairs of numbers and values of a share of its entries."""
    rng = np.random.default_rng(seed)
    truth = center + rng.standard_normal((M, rank)) @ rng.standard_normal((rank, N))
    # As many in each row as in others, in no order.
    pairs = np.argwhere(np.argsort(rng.random((M, N)), axis=1) < share * N)
    pairs = rng.permutation(pairs)
    values = truth[tuple(pairs.T)] + noise * rng.standard_normal(len(pairs))
    return truth, pairs, values


def regressor(solver="als", rank=None, **params):
    if solver == "gibbs":
        params = {"max_iter": 15, **params}
    if rank is None:
        rank = RANKS.get(solver, 2)
    return MatrixFactorizationRegressor(
        rank, solver=solver, **{"random_state": 0, **params}
    )


TRUTH, PAIRS, VALUES = entries()
HIDDEN = np.argwhere(sp.coo_array((np.ones(len(PAIRS)), PAIRS.T), (M, N)).toarray() == 0)
ROW_NAMES = np.array([f"user {i:03}" for i in range(M)])
COLUMN_NAMES = np.array([f"i{j}" for j in np.random.default_rng(1).permutation(N)])


def rms(errors):
    return np.sqrt(np.mean(np.square(errors)))


def named(pairs):
    return np.column_stack([ROW_NAMES[pairs[:, 0]], COLUMN_NAMES[pairs[:, 1]]])


# --- Values


@UNCONVERGED
@EACH_SOLVER
def test_pairs_that_were_not_seen_come_near_the_truth(solver, seed):
    truth, pairs, values = entries(seed)
    seen = sp.coo_array((np.ones(len(pairs)), pairs.T), (M, N)).toarray() > 0
    hidden = np.argwhere(~seen)
    model = regressor(solver).fit(pairs, values)
    errors = model.predict(hidden) - truth[tuple(hidden.T)]
    # Least squares leave about half of the noise; the spread of the truth is 14 times it.
    assert rms(errors) <= 2 * NOISE
    assert model.score(hidden, truth[tuple(hidden.T)]) > 0.95
    assert model.solver_ == solver


@UNCONVERGED
@EACH_SOLVER
def test_values_are_what_the_attributes_say(solver):
    model = regressor(solver).fit(PAIRS, VALUES)
    whole = model.offset_ + model.row_biases_[:, None] + model.column_biases_
    whole = whole + model.row_factors_ @ model.column_factors_.T
    pairs = np.argwhere(np.ones((M, N)))
    np.testing.assert_allclose(model.predict(pairs), whole.ravel(), atol=1e-10)
    assert model.row_ids_.tolist() == list(range(M))
    assert model.column_ids_.tolist() == list(range(N))
    assert model.row_factors_.shape[0] == M
    assert model.column_factors_.shape[0] == N
    assert model.n_features_in_ == 2
    if solver != "softimpute":
        assert model.rank_ == RANKS.get(solver, 2)
    assert len(model.history_) >= 1
    assert is_regressor(model)


@UNCONVERGED
@EACH_SOLVER
def test_it_is_the_completer_on_the_matrix_of_the_entries(solver):
    coo = sp.coo_array((VALUES, PAIRS.T), (M, N))
    params = {"max_iter": 15} if solver == "gibbs" else {}
    rank = RANKS.get(solver, 2)
    completer = MatrixCompleter(rank, solver=solver, random_state=0, **params).fit(coo)
    model = regressor(solver).fit(PAIRS, VALUES)
    np.testing.assert_allclose(
        model.predict(HIDDEN), completer.predict_entries(*HIDDEN.T), atol=1e-10
    )


def test_the_default_solver_depends_on_the_penalty():
    assert regressor("auto", max_iter=5).fit(PAIRS, VALUES).solver_ == "gibbs"
    model = regressor("auto", alpha=0.1).fit(PAIRS, VALUES)
    assert model.solver_ == "als"
    assert model.alpha_ == 0.1


@UNCONVERGED
@EACH_SOLVER
def test_the_order_of_samples_does_not_matter_to_predict(solver):
    model = regressor(solver).fit(PAIRS, VALUES)
    order = np.random.default_rng(0).permutation(len(HIDDEN))
    np.testing.assert_array_equal(
        model.predict(HIDDEN[order]), model.predict(HIDDEN)[order]
    )
    np.testing.assert_array_equal(model.predict(HIDDEN[:1]), model.predict(HIDDEN)[:1])
    np.testing.assert_array_equal(
        model.predict_entries(*HIDDEN.T.tolist()), model.predict(HIDDEN)
    )
    with pytest.raises(ValueError, match="vectors of one length"):
        model.predict_entries([0, 1], [0])


def test_predictions_stay_in_the_range_of_the_values_if_asked_to():
    stars = np.clip(np.round(VALUES), 1, 5)
    for solver in ("gibbs", "als"):
        model = regressor(solver).fit(PAIRS, stars)
        free = model.predict(HIDDEN)
        found = model.set_params(clip=True).predict(HIDDEN)
        assert found.min() >= 1
        assert found.max() <= 5
        assert free.max() > 5
        np.testing.assert_array_equal(found, np.clip(free, 1, 5))


@UNCONVERGED
@EACH_SOLVER
def test_single_precision_gives_single_precision(solver):
    model = regressor(solver).fit(PAIRS, VALUES.astype(np.float32))
    found = model.predict(HIDDEN)
    assert found.dtype == np.float32
    assert rms(found - TRUTH[tuple(HIDDEN.T)]) <= 2 * NOISE
    if solver == "gibbs":
        for out in model.predict(HIDDEN, return_std=True):
            assert out.dtype == np.float32
    assert regressor(solver).fit(PAIRS, VALUES).predict(HIDDEN).dtype == np.float64


@pytest.mark.parametrize("dtype", [np.int64, np.uint8, bool])
def test_integer_values_give_double_precision(dtype):
    whole = (VALUES > 3).astype(dtype)
    found = regressor().fit(PAIRS, whole).predict(HIDDEN)
    assert found.dtype == np.float64
    np.testing.assert_array_equal(
        found, regressor().fit(PAIRS, whole * 1.0).predict(HIDDEN)
    )


@pytest.mark.parametrize("solver", ["gibbs", "als"])
def test_values_of_a_pair_given_several_times_are_averaged(solver):
    rng = np.random.default_rng(0)
    order = rng.permutation(3 * len(PAIRS))
    thrice = np.tile(PAIRS, (3, 1))[order]
    values = np.concatenate([VALUES - 1, VALUES + 2, VALUES - 1])[order]
    expected = regressor(solver).fit(PAIRS, VALUES)
    model = regressor(solver).fit(thrice, values)
    np.testing.assert_allclose(model.predict(HIDDEN), expected.predict(HIDDEN), atol=1e-6)


def test_standard_deviations_cover_new_values(seed):
    _, pairs, values = entries(seed)
    test = np.random.default_rng(seed).random(len(pairs)) < 0.3
    model = regressor("gibbs", max_iter=40, random_state=seed)
    model.fit(pairs[~test], values[~test])
    mean, std = model.predict(pairs[test], return_std=True)
    np.testing.assert_array_equal(mean, model.predict(pairs[test]))
    assert std.shape == mean.shape
    assert (std > 0).all()
    # 95 % intended, of some 225; the posterior is itself estimated.
    covered = np.abs(values[test] - mean) <= 1.96 * std
    assert covered.mean() >= 0.85
    # Not for being large: the noise is 0.1.
    assert np.median(std) <= 4 * NOISE
    strangers = np.array([[0, 1000], [1000, 0], [1000, 1000]])
    _, wide = model.predict(strangers, return_std=True)
    assert (wide > 0).all()
    assert np.isfinite(wide).all()


def test_who_was_not_seen_is_less_certain():
    model = regressor("gibbs", max_iter=40).fit(PAIRS, VALUES)
    _, known = model.predict(HIDDEN, return_std=True)
    rows = np.column_stack([np.full(N, 1000), np.arange(N)])
    _, of_new_rows = model.predict(rows, return_std=True)
    columns = np.column_stack([np.arange(M), np.full(M, 1000)])
    _, of_new_columns = model.predict(columns, return_std=True)
    # The values of one have a spread of more than one, and all that tells it is lacking.
    assert np.median(of_new_rows) > 2 * np.median(known)
    assert np.median(of_new_columns) > 2 * np.median(known)


@pytest.mark.parametrize("side", [0, 1], ids=["rows", "columns"])
def test_standard_deviations_cover_values_of_who_was_not_seen(side):
    new = PAIRS[:, side] < 8
    model = regressor("gibbs", max_iter=40).fit(PAIRS[~new], VALUES[~new])
    mean, std = model.predict(PAIRS[new], return_std=True)
    # 95 % intended; of those eight, each may be unusual in all its values.
    assert np.mean(np.abs(VALUES[new] - mean) <= 1.96 * std) >= 0.7


@pytest.mark.parametrize("solver", ["als", "softimpute"])
def test_only_samples_tell_a_standard_deviation(solver):
    model = regressor(solver).fit(PAIRS, VALUES)
    with pytest.raises(
        ValueError, match=rf"return_std=True needs solver='gibbs'.*{solver}"
    ):
        model.predict(HIDDEN, return_std=True)


# --- Identifiers


@UNCONVERGED
@pytest.mark.parametrize("solver", ["gibbs", "als"])
@pytest.mark.parametrize(
    "of",
    [
        lambda pairs: 10**15 * (pairs - 7),
        lambda pairs: (pairs + 2**31).astype(np.uint64),
        lambda pairs: pairs.astype(np.int16),
        lambda pairs: np.asfortranarray(pairs.astype(np.uint8)),
        lambda pairs: pairs.tolist(),
        lambda pairs: pd.DataFrame(pairs),
        lambda pairs: pl.DataFrame({"a": pairs[:, 0], "b": pairs[:, 1]}),
    ],
    ids=["large", "uint64", "int16", "uint8", "list", "pandas", "polars"],
)
def test_integers_of_any_kind_identify(solver, of):
    expected = regressor(solver).fit(PAIRS, VALUES)
    model = regressor(solver).fit(of(PAIRS), VALUES)
    np.testing.assert_allclose(model.predict(of(HIDDEN)), expected.predict(HIDDEN))
    order = np.argsort(np.asarray(of(np.column_stack([np.arange(N), np.arange(N)])))[:, 0])
    assert order.tolist() == list(range(N))


def test_small_signed_integers_do_not_overflow():
    # Their range is larger than the largest of the type.
    spread = (PAIRS * [5, 10] - 120).astype(np.int8)
    assert spread.min() == -120
    assert spread.max() == 125
    model = regressor().fit(spread, VALUES)
    assert model.row_ids_.tolist() == list(range(-120, 130, 5))
    assert model.column_ids_.tolist() == list(range(-120, 130, 10))
    expected = regressor().fit(PAIRS, VALUES).predict(HIDDEN)
    hidden = (HIDDEN * [5, 10] - 120).astype(np.int8)
    np.testing.assert_allclose(model.predict(hidden), expected)
    # The type is not what identifies.
    np.testing.assert_allclose(model.predict(hidden.astype(int)), expected)


@pytest.mark.parametrize(
    "make",
    [
        lambda names: names,
        lambda names: names.astype(object),
        lambda names: names.tolist(),
        lambda names: pd.DataFrame(names, columns=["user", "item"]),
        lambda names: pd.DataFrame(names).astype("string"),
        lambda names: pd.DataFrame(names).astype("category"),
        lambda names: pl.DataFrame({"user": names[:, 0], "item": names[:, 1]}),
    ],
    ids=["array", "object", "list", "pandas", "string", "category", "polars"],
)
def test_strings_identify(make):
    expected = regressor().fit(PAIRS, VALUES)
    model = regressor().fit(make(named(PAIRS)), VALUES)
    assert model.row_ids_.tolist() == ROW_NAMES.tolist()
    assert model.column_ids_.tolist() == sorted(COLUMN_NAMES.tolist())
    found = model.predict(make(named(HIDDEN)))
    # Columns are in another order: the same to rounding and where it stops.
    np.testing.assert_allclose(found, expected.predict(HIDDEN), atol=0.1)
    columns, scores = model.recommend(ROW_NAMES[:3], 4)
    assert set(columns.ravel()) <= set(COLUMN_NAMES)
    for row, (best, score) in enumerate(zip(columns, scores, strict=True)):
        pairs = make(np.array([[ROW_NAMES[row], c] for c in best]))
        np.testing.assert_allclose(model.predict(pairs), score)


@pytest.mark.parametrize("kind", [pd.DataFrame, pl.DataFrame])
def test_a_frame_may_have_a_column_of_each(kind):
    def frame(pairs):
        return kind({"user": 7 * pairs[:, 0], "item": COLUMN_NAMES[pairs[:, 1]].tolist()})

    model = regressor().fit(frame(PAIRS), VALUES)
    assert model.row_ids_.tolist() == list(range(0, 7 * M, 7))
    assert model.column_ids_.tolist() == sorted(COLUMN_NAMES.tolist())
    assert rms(model.predict(frame(HIDDEN)) - TRUTH[tuple(HIDDEN.T)]) <= 2 * NOISE
    columns, _ = model.recommend([0, 14], 3)
    assert set(columns.ravel()) <= set(COLUMN_NAMES)
    if kind is pd.DataFrame or NAMES_IN_POLARS:
        assert model.feature_names_in_.tolist() == ["user", "item"]
        swapped = frame(HIDDEN)[["item", "user"]]
        with pytest.raises(ValueError, match="feature names should match"):
            model.predict(swapped)


def test_integers_too_large_for_floats_are_told_apart():
    far = PAIRS.copy()
    far[:, 0] += 2**60
    model = regressor().fit(far, VALUES)
    assert model.row_ids_.tolist() == [2**60 + i for i in range(M)]
    frame = pd.DataFrame({"user": far[:, 0], "item": COLUMN_NAMES[PAIRS[:, 1]]})
    model = regressor().fit(frame, VALUES)
    assert model.row_ids_.tolist() == [2**60 + i for i in range(M)]


def test_longer_names_are_not_cut():
    model = regressor(rank=1).fit([["a", "x"], ["b", "y"], ["a", "y"]], [1.0, 2.0, 3.0])
    new = model.predict([["abc", "x"], ["zz", "x"]])
    assert new[0] == new[1]


@UNCONVERGED
@EACH_SOLVER
def test_who_was_not_seen_has_the_biases_of_the_other_side(solver):
    model = regressor(solver, center=True).fit(named(PAIRS), VALUES)
    columns = model.column_ids_
    of_row = model.predict([["nobody", c] for c in columns])
    of_column = model.predict([[r, "nothing"] for r in ROW_NAMES])
    of_both = model.predict([["nobody", "nothing"]])
    for found in (of_row, of_column, of_both):
        assert np.isfinite(found).all()
    if solver != "gibbs":
        np.testing.assert_allclose(of_row, model.offset_ + model.column_biases_, atol=1e-9)
        np.testing.assert_allclose(of_column, model.offset_ + model.row_biases_, atol=1e-9)
        assert of_both[0] == pytest.approx(model.offset_)
    # All new ones are alike, and about as others are on average: the mean of a side has
    # an error of the spread of rows, about sqrt(2), by sqrt(25).
    np.testing.assert_array_equal(model.predict([["zz", columns[0]]]), of_row[:1])
    assert abs(of_both[0] - VALUES.mean()) <= 1
    assert abs(of_row.mean() - VALUES.mean()) <= 1
    assert abs(of_column.mean() - VALUES.mean()) <= 1


def test_biases_of_columns_are_what_is_known_of_a_new_row():
    rng = np.random.default_rng(0)
    level = 2 * rng.standard_normal(N)
    values = level[PAIRS[:, 1]] + NOISE * rng.standard_normal(len(PAIRS))
    new = np.column_stack([np.full(N, -1), np.arange(N)])
    for solver in ("gibbs", "als"):
        model = regressor(solver, rank=1).fit(PAIRS, values)
        assert rms(model.predict(new) - level) <= 0.3


@pytest.mark.parametrize(
    ("pairs", "message"),
    [
        (named(PAIRS[:5]), "same type|give the same"),
        (pd.DataFrame(named(PAIRS[:5])), "same type|give the same"),
        (
            np.column_stack([PAIRS[:5, :1].astype(object), named(PAIRS)[:5, 1:]]),
            "same type|give the same",
        ),
    ],
    ids=["array", "frame", "one column"],
)
def test_other_types_of_identifiers_are_refused(pairs, message):
    model = regressor().fit(PAIRS, VALUES)
    with pytest.raises(ValueError, match=message):
        model.predict(pairs)
    model = regressor().fit(named(PAIRS), VALUES)
    with pytest.raises(ValueError, match=message):
        model.predict(PAIRS[:5])
    with pytest.raises(ValueError, match=message):
        model.recommend([0, 1])


# --- Recommendations


@UNCONVERGED
@EACH_SOLVER
@pytest.mark.parametrize("exclude", [True, False])
@pytest.mark.parametrize("n", [1, 5, N + 3])
def test_the_largest_values_are_recommended(solver, exclude, n):
    model = regressor(solver).fit(named(PAIRS), VALUES)
    which = np.array([3, 0, 49, 3])
    columns, scores = model.recommend(ROW_NAMES[which], n, exclude_seen=exclude)
    assert columns.shape == scores.shape == (4, n)
    seen = {tuple(pair) for pair in named(PAIRS)}
    for i, row in enumerate(ROW_NAMES[which]):
        allowed = [c for c in model.column_ids_ if not exclude or (row, c) not in seen]
        values = model.predict([[row, c] for c in allowed])
        order = np.argsort(-values, kind="stable")[:n]
        k = len(order)
        assert columns[i, :k].tolist() == [allowed[j] for j in order]
        np.testing.assert_allclose(scores[i, :k], values[order], atol=1e-10)
        assert (scores[i, k:] == -np.inf).all()
        assert (columns[i, k:] == model.column_ids_[0]).all()


@pytest.mark.parametrize("solver", ["gibbs", "als"])
def test_a_new_row_is_recommended_what_is_predicted_for_it(solver):
    model = regressor(solver).fit(PAIRS, VALUES)
    columns, scores = model.recommend([1000, 3, -5], N)
    assert sorted(columns[0]) == list(range(N))
    np.testing.assert_array_equal(columns[0], columns[2])
    new = np.column_stack([np.full(N, 1000), columns[0]])
    np.testing.assert_allclose(model.predict(new), scores[0])
    assert np.isfinite(scores[0]).all()
    as_series = model.recommend(pd.Series([1000, 3, -5]), N)
    np.testing.assert_array_equal(as_series[0], columns)


def test_no_rows_have_no_recommendations():
    columns, scores = regressor().fit(PAIRS, VALUES).recommend(np.zeros(0, int), 3)
    assert columns.shape == scores.shape == (0, 3)


@pytest.mark.parametrize("n", [0, -1, 2.0, None])
def test_a_wrong_number_of_recommendations_is_refused(n):
    with pytest.raises(ValueError, match=rf"n={n} must be an int"):
        regressor().fit(PAIRS, VALUES).recommend([0], n)


# --- In a workflow


@pytest.mark.parametrize("of", [np.asarray, named], ids=["integers", "strings"])
def test_cross_validation_is_over_entries(of):
    folds = KFold(4, shuffle=True, random_state=0)
    scores = cross_val_score(regressor(), of(PAIRS), VALUES, cv=folds)
    assert scores.min() > 0.9
    found = cross_val_predict(regressor(), of(PAIRS), VALUES, cv=folds)
    assert rms(found - VALUES) <= 4 * NOISE


def test_rows_that_are_left_out_are_predicted_by_biases():
    # Folds in the order of rows: those of the test are new.
    order = np.argsort(PAIRS[:, 0], kind="stable")
    scores = cross_val_score(regressor(), PAIRS[order], VALUES[order], cv=KFold(5))
    assert np.isfinite(scores).all()


def test_a_grid_search_finds_the_rank():
    _, pairs, values = entries(2, rank=3, share=0.8, center=0)
    # Without a penalty to speak of, a rank too large does harm.
    model = regressor(alpha=1e-3, center=False, validation_fraction=0, tol=1e-2)
    search = GridSearchCV(
        model, {"rank": [1, 2, 3, 8]}, cv=KFold(3, shuffle=True, random_state=0)
    ).fit(pairs, values)
    assert search.best_params_ == {"rank": 3}
    assert search.best_estimator_.rank_ == 3


@pytest.mark.parametrize("solver", ["gibbs", "als"])
def test_the_rank_is_at_most_the_number_of_identifiers_of_a_side(solver):
    assert regressor(solver, N + 7).fit(PAIRS, VALUES).rank_ == N
    few = PAIRS[:, 1] < 2
    model = regressor(solver, 6).fit(PAIRS[few], VALUES[few])
    assert model.rank_ == 2
    assert model.rank == 6
    assert np.isfinite(model.predict(HIDDEN)).all()


def test_the_rank_is_chosen_by_entries_held_out():
    model = regressor(rank="auto", validation_fraction=0.1).fit(PAIRS, VALUES)
    assert model.rank_ in (2, 3, 4)
    assert 0.5 * NOISE <= model.error_estimate_ <= 4 * NOISE
    assert np.isnan(regressor(validation_fraction=0).fit(PAIRS, VALUES).error_estimate_)


@UNCONVERGED
@EACH_SOLVER
def test_a_seed_makes_it_reproducible_on_any_number_of_threads(solver):
    first, *others = [regressor(solver, n_jobs=k).fit(PAIRS, VALUES) for k in (1, 1, 2)]
    for other in others:
        np.testing.assert_array_equal(other.predict(HIDDEN), first.predict(HIDDEN))
        np.testing.assert_array_equal(
            other.recommend([0, 1])[1], first.recommend([0, 1])[1]
        )


@pytest.mark.parametrize("solver", ["gibbs", "als"])
def test_copies_and_pickles_are_the_same(solver):
    model = regressor(solver).fit(named(PAIRS), VALUES)
    again = pickle.loads(pickle.dumps(model))
    np.testing.assert_array_equal(
        again.predict(named(HIDDEN)), model.predict(named(HIDDEN))
    )
    copy = clone(model)
    assert copy.get_params() == model.get_params()
    with pytest.raises(NotFittedError):
        copy.predict(named(HIDDEN))
    with pytest.raises(NotFittedError):
        copy.recommend(ROW_NAMES)
    assert not hasattr(copy, "row_factors_")
    copy.fit(named(PAIRS), VALUES)
    np.testing.assert_array_equal(copy.predict(named(HIDDEN)), model.predict(named(HIDDEN)))


@pytest.mark.parametrize("solver", ["gibbs", "als"])
def test_a_warm_start_goes_on_from_the_model_before(solver):
    cold = regressor(solver).fit(PAIRS, VALUES)
    warm = regressor(solver, warm_start=True).fit(PAIRS, VALUES)
    np.testing.assert_array_equal(warm.predict(HIDDEN), cold.predict(HIDDEN))
    warm.fit(PAIRS, VALUES)
    assert warm.history_[0] < cold.history_[0]
    assert rms(warm.predict(HIDDEN) - TRUTH[tuple(HIDDEN.T)]) <= 2 * NOISE


@pytest.mark.parametrize("solver", ["gibbs", "als"])
@pytest.mark.parametrize("side", [0, 1])
def test_a_warm_start_ignores_a_model_of_other_numbers_of_identifiers(solver, side):
    fewer = PAIRS[:, side] < 20
    warm = regressor(solver, warm_start=True).fit(PAIRS, VALUES)
    warm.fit(PAIRS[fewer], VALUES[fewer])
    cold = regressor(solver).fit(PAIRS[fewer], VALUES[fewer])
    np.testing.assert_array_equal(warm.predict(HIDDEN), cold.predict(HIDDEN))


@pytest.mark.parametrize("solver", ["als", "softimpute", "exact", "iterative_svd"])
def test_too_few_iterations_are_warned_of(solver):
    with pytest.warns(
        ConvergenceWarning, match=rf"'{solver}' stopped after .*max_iter .now 1"
    ):
        regressor(solver, max_iter=1).fit(PAIRS, VALUES)


@pytest.mark.parametrize("error", [KeyboardInterrupt, MemoryError])
@pytest.mark.parametrize("solver", ["gibbs", "als"])
def test_an_interrupted_fit_leaves_the_model_it_had(solver, error, monkeypatch):
    model = regressor(solver).fit(named(PAIRS), VALUES)
    before, found = vars(model).copy(), model.predict(named(HIDDEN))

    def interrupt(*_, **__):
        raise error

    # Near the end of a fit.
    monkeypatch.setattr(LowRankModel, "_replace", interrupt)
    with pytest.raises(error):
        model.fit(PAIRS[:200], VALUES[:200])
    monkeypatch.undo()
    assert vars(model).keys() == before.keys()
    assert all(vars(model)[key] is before[key] for key in before)
    np.testing.assert_array_equal(model.predict(named(HIDDEN)), found)


# --- What is refused


def with_value(value):
    bad = VALUES.copy()
    bad[3] = value
    return bad


@pytest.mark.parametrize(
    ("params", "X", "y", "message"),
    [
        ({}, PAIRS[:, :1], VALUES, r"X has 1 feature\(s\), but .* needs 2"),
        ({}, np.hstack([PAIRS, PAIRS[:, :1]]), VALUES, r"X has 3 feature\(s\)"),
        ({}, PAIRS[:, 0], VALUES, "Expected 2D array"),
        ({}, PAIRS[:0], VALUES[:0], "0 sample"),
        ({}, PAIRS, None, "requires y to be passed"),
        ({}, PAIRS, VALUES[:-1], "inconsistent numbers of samples"),
        ({}, PAIRS, with_value(np.nan), "NaN"),
        ({}, PAIRS, with_value(np.inf), "infinity"),
        ({}, PAIRS, np.column_stack([VALUES, VALUES]), "1d array|multioutput|2d"),
        ({}, PAIRS, np.array(["a"] * len(PAIRS)), "could not convert string|numeric"),
        ({"rank": 0}, PAIRS, VALUES, "'rank' parameter .*Got 0"),
        ({"solver": "em"}, PAIRS, VALUES, "'solver' parameter .*Got 'em'"),
        ({"alpha": -1.0}, PAIRS, VALUES, "'alpha' parameter .*Got -1.0"),
        ({"clip": "yes"}, PAIRS, VALUES, "'clip' parameter .*Got 'yes'"),
        ({"max_iter": 0}, PAIRS, VALUES, "'max_iter' parameter .*Got 0"),
        ({"tol": -1.0}, PAIRS, VALUES, "'tol' parameter .*Got -1.0"),
        ({"validation_fraction": 1}, PAIRS, VALUES, "'validation_fraction' parameter"),
        ({"random_state": -1}, PAIRS, VALUES, "random_state"),
        ({"solver": "gibbs", "center": False}, PAIRS, VALUES, "center=False cannot be"),
    ],
)
def test_bad_input_is_refused_with_the_reason(params, X, y, message):
    model = MatrixFactorizationRegressor(**{"rank": 2, **params})
    with pytest.raises(ValueError, match=message):
        model.fit(X, y)
    assert not [name for name in vars(model) if name.endswith("_")]


@pytest.mark.parametrize(
    "missing", [None, np.nan, pd.NA, pd.NaT], ids=["None", "NaN", "NA", "NaT"]
)
@pytest.mark.parametrize("column", [0, 1])
def test_missing_identifiers_are_refused(missing, column):
    names = named(PAIRS).astype(object)
    names[7, column] = missing
    for make in (np.asarray, pd.DataFrame):
        # scikit-learn's own check says TypeError of pandas.NA.
        with pytest.raises((ValueError, TypeError)):
            regressor().fit(make(names), VALUES)
    whole = regressor().fit(named(PAIRS), VALUES)
    with pytest.raises((ValueError, TypeError)):
        whole.predict(names)
    floats = PAIRS.astype(float)
    floats[7, column] = np.nan
    with pytest.raises(ValueError, match="NaN"):
        regressor().fit(floats, VALUES)


def test_a_failed_fit_leaves_the_previous_state():
    model = regressor().fit(PAIRS, VALUES)
    before = vars(model).copy()
    for X, y in (
        (PAIRS, with_value(np.nan)),
        (PAIRS[:, :1], VALUES),
        (named(PAIRS), None),
        (named(PAIRS), VALUES[:-1]),
    ):
        with pytest.raises(ValueError):
            model.fit(X, y)
        assert vars(model).keys() == before.keys()
        assert all(vars(model)[key] is before[key] for key in before)


def test_wrong_pairs_are_refused_in_predict():
    model = regressor().fit(PAIRS, VALUES)
    with pytest.raises(ValueError, match="X has 3 features"):
        model.predict(np.zeros((2, 3), int))
    with pytest.raises(ValueError, match="X has 1 features"):
        model.predict(np.zeros((2, 1), int))
    with pytest.raises(ValueError, match="Expected 2D array"):
        model.predict([0, 1])
    with pytest.raises(NotFittedError):
        MatrixFactorizationRegressor().predict(PAIRS)


def test_one_value_is_a_model():
    for solver in ("gibbs", "als"):
        for pair in ([[4, 9]], [["a", "b"]]):
            model = regressor(solver, rank=1).fit(pair, [2.5])
            assert model.predict(pair) == pytest.approx(2.5)
            assert model.rank_ == 1
            new = [[5, 9]] if pair == [[4, 9]] else [["c", "b"]]
            assert model.predict(new) == pytest.approx(2.5)


def test_equal_values_are_predicted_for_all():
    same = np.full(len(PAIRS), -3.0)
    for solver in ("gibbs", "als"):
        model = regressor(solver).fit(PAIRS, same)
        np.testing.assert_allclose(model.predict(HIDDEN), -3, rtol=1e-9)


@pytest.mark.parametrize("n", [150, 500])
def test_few_values_of_new_identifiers_are_predicted_no_worse_than_by_their_mean(n):
    covered = 0
    for seed in range(8):
        rng = np.random.default_rng(seed)
        pairs, y = rng.integers(0, 600, (n, 2)), rng.standard_normal(n)
        test = rng.random(n) < 0.2
        model = MatrixFactorizationRegressor(random_state=seed)
        model.fit(pairs[~test], y[~test])
        error = np.sqrt(np.mean(np.square(model.predict(pairs[test]) - y[test])))
        of_mean = np.sqrt(np.mean(np.square(y[test] - y[~test].mean())))
        assert error <= 1.02 * of_mean
        covered += error <= model.error_estimate_
        assert model.new_error_estimate_ >= 0.9
    assert covered >= 6


def test_the_rank_of_the_sampler_is_not_larger_than_it_pays():
    for seed in range(3):
        rng = np.random.default_rng(seed)
        truth = rng.standard_normal((150, 5)) @ rng.standard_normal((5, 100)) / 5**0.5
        known = rng.random(truth.shape) < 0.3
        y = (truth + 0.5 * rng.standard_normal(truth.shape))[known]
        model = MatrixFactorizationRegressor("auto", random_state=seed)
        assert 5 <= model.fit(np.argwhere(known), y).rank_ <= 8
