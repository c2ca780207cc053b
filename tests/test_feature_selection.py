"""CURSelector against brute force and least squares, and what it says of its error."""

import pickle

import numpy as np
import pytest
import scipy.linalg
import scipy.sparse as sp
from sklearn.base import clone
from sklearn.datasets import load_iris, make_classification
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import LabelBinarizer, StandardScaler

from sklearn_rnla import CURSelector
from sklearn_rnla.linalg import column_subset, cur
from tests.invariants import assert_close_to_scale
from tests.matrices import coherent, gallery, with_spectrum

METHODS = ["cpqr", "lupp", "qdeim", "greedy", "leverage", "leverage-top"]
EACH_METHOD = pytest.mark.parametrize("method", [*METHODS, "supervised"])
REFINE = pytest.mark.parametrize("refine", [None, "swap"])
DTYPES = pytest.mark.parametrize("dtype", [np.float32, np.float64])
TALL = with_spectrum(1 / np.arange(1.0, 81), 500, 80)
Y = TALL @ np.arange(80.0) + 0.01 * np.random.default_rng(0).standard_normal(500)


def left_by(C, A):
    """Return ``A - C C^+ A``."""
    return A - C @ np.linalg.lstsq(C, A, rcond=None)[0]


def true_error(A, indices):
    A = np.asarray(A, dtype=float)
    return np.linalg.norm(left_by(A[:, indices], A)) / np.linalg.norm(A)


@EACH_METHOD
@REFINE
def test_the_error_is_the_true_one(method, refine, seed):
    for name, A in gallery(200, 40, seed=seed):
        selector = CURSelector(6, method=method, refine=refine, random_state=seed)
        selector.fit(A, A[:, :2] if method == "supervised" else None)
        J = selector.column_indices_
        assert J.shape == (6,)
        assert len(set(J.tolist())) == selector.n_components_ == 6
        truth = true_error(A, J)
        assert selector.error_estimate_ == pytest.approx(truth, abs=1e-6), name


@pytest.mark.parametrize("make", [np.asarray, sp.csr_array])
@pytest.mark.parametrize("n_rows", [3, 6, 12])
def test_with_rows_the_error_is_that_of_the_decomposition(make, n_rows, seed):
    A = coherent(300, 60, seed)
    selector = CURSelector(6, n_rows=n_rows, random_state=seed).fit(make(A))
    I, J = selector.row_indices_, selector.column_indices_
    assert len(set(I.tolist())) == n_rows
    C, R = (
        f if isinstance(f, np.ndarray) else f.toarray() for f in (selector.C_, selector.R_)
    )
    np.testing.assert_array_equal(C, A[:, J])
    np.testing.assert_array_equal(R, A[I])
    assert selector.U_.shape == (6, n_rows)
    truth = np.linalg.norm(A - C @ selector.U_ @ R) / np.linalg.norm(A)
    assert selector.error_estimate_ == pytest.approx(truth, abs=1e-6)
    gradient = C.T @ (A - C @ selector.U_ @ R) @ R.T
    size = np.linalg.norm(C) ** 2 * np.linalg.norm(selector.U_) * np.linalg.norm(R) ** 2
    assert np.abs(gradient).max() <= 1e-11 * size
    # Karush, Kuhn & Tucker, of the weights nearest to the Gram matrix.
    w = selector.row_weights_
    assert w.shape == (n_rows,)
    assert w.min() >= 0
    g = np.sum((A @ R.T) ** 2, axis=0)
    slope = ((R @ R.T) ** 2 @ w - g) / g
    assert slope.min() >= -1e-8
    assert np.abs(slope[w > 0]).max(initial=0) <= 1e-8


def test_it_is_the_functions_of_linalg(seed):
    for method in METHODS:
        params = {"method": method, "random_state": seed}
        subset = column_subset(TALL, 5, **params)
        selector = CURSelector(5, **params).fit(TALL)
        np.testing.assert_array_equal(selector.column_indices_, subset.indices)
        result = cur(TALL, 5, 7, **params)
        selector = CURSelector(5, n_rows=7, **params).fit(TALL)
        for ours, theirs in zip(
            (selector.column_indices_, selector.row_indices_, selector.C_, selector.U_),
            result,
            strict=False,
        ):
            np.testing.assert_array_equal(ours, theirs)
        assert selector.error_estimate_ == result.error_estimate


@EACH_METHOD
@REFINE
@DTYPES
@pytest.mark.parametrize("make", [np.asarray, sp.csr_array])
def test_all_others_are_least_squares_combinations(method, refine, dtype, make):
    A = TALL.astype(dtype)
    selector = CURSelector(7, method=method, refine=refine, random_state=0)
    selector.fit(make(A), Y)
    J, W = selector.column_indices_, selector.interpolation_
    assert W.shape == (7, 80)
    assert W.dtype == dtype
    C = A[:, J].astype(float)
    expected = np.linalg.lstsq(C, A.astype(float), rcond=None)[0]
    assert_close_to_scale(W, expected, dtype, 100 * np.linalg.cond(C))
    np.testing.assert_array_equal(W[:, J], np.eye(7))


@EACH_METHOD
@DTYPES
@pytest.mark.parametrize("make", [np.asarray, sp.csr_array])
def test_reconstruction_keeps_the_columns_and_is_c_times_w(method, dtype, make):
    A = make(TALL.astype(dtype))
    selector = CURSelector(7, method=method, random_state=0).fit(A, Y)
    kept = selector.transform(A)
    support = selector.get_support(indices=True)
    np.testing.assert_array_equal(support, np.sort(selector.column_indices_))
    if sp.issparse(A):
        assert sp.issparse(kept)
    back = selector.inverse_transform(kept)
    assert isinstance(back, np.ndarray)
    assert kept.dtype == back.dtype == dtype
    kept = kept.toarray() if sp.issparse(kept) else kept
    np.testing.assert_array_equal(kept, TALL.astype(dtype)[:, support])
    np.testing.assert_array_equal(back[:, support], kept)
    C = TALL[:, selector.column_indices_]
    slack = 100 * np.abs(selector.interpolation_).max()
    assert_close_to_scale(back, C @ selector.interpolation_.astype(float), dtype, slack)
    error = np.linalg.norm(back - TALL) / np.linalg.norm(TALL)
    assert selector.error_estimate_ == pytest.approx(error, rel=1e-3)


@EACH_METHOD
@REFINE
@DTYPES
@pytest.mark.parametrize("make", [np.asarray, sp.csr_array])
@pytest.mark.parametrize("shape", [(300, 40), (40, 300), (25, 20)])
def test_beyond_the_rank_it_stops_and_warns(method, refine, dtype, make, shape):
    # Longest first, and no column is nearly a combination of others.
    rng = np.random.default_rng(0)
    A = np.round(8 * rng.standard_normal((shape[0], 3))).astype(dtype)
    A = A @ rng.integers(-2, 3, (3, shape[1])).astype(dtype)
    params = {"method": method, "refine": refine, "random_state": 0}
    with pytest.warns(
        UserWarning, match="n_components=6 exceeds the numerical rank of X: 3"
    ):
        selector = CURSelector(6, **params).fit(make(A), rng.standard_normal(shape[0]))
    assert selector.n_components_ == len(selector.column_indices_) == 3
    assert selector.error_estimate_ <= 10 * np.sqrt(np.finfo(dtype).eps)
    back = selector.inverse_transform(selector.transform(A))
    assert_close_to_scale(back, A, dtype)


def test_fewer_rows_than_asked_for_are_a_warning_too():
    A = with_spectrum(np.array([3.0, 2.0, 1.0]), 30, 20)
    with pytest.warns(UserWarning, match="n_rows=9 exceeds the numerical rank of X: 3"):
        selector = CURSelector(2, n_rows=9).fit(A)
    assert selector.U_.shape == (2, 3)


@EACH_METHOD
@REFINE
def test_all_columns_leave_nothing(method, refine):
    A = np.random.default_rng(0).standard_normal((40, 9))
    selector = CURSelector(9, method=method, refine=refine, random_state=0)
    selector.fit(A, A[:, 0])
    assert sorted(selector.column_indices_) == list(range(9))
    assert selector.error_estimate_ <= 1e-6
    np.testing.assert_array_equal(selector.transform(A), A)
    np.testing.assert_array_equal(selector.inverse_transform(A), A)


@pytest.mark.parametrize("method", ["cpqr", "greedy"])
@REFINE
@pytest.mark.parametrize("tol", [0.6, 0.3, 0.1, 0.01])
def test_a_tolerance_is_met_with_the_fewest_columns(method, refine, tol, seed):
    A = with_spectrum(0.8 ** np.arange(30), 200, 30, seed)
    params = {"method": method, "refine": refine, "random_state": seed}
    selector = CURSelector(tol=tol, **params).fit(A)
    J = selector.column_indices_
    assert selector.error_estimate_ <= tol
    assert true_error(A, J) <= tol + 1e-9
    if refine is None:
        assert true_error(A, J[:-1]) > tol
    share = CURSelector(1 - tol**2, **params).fit(A)
    np.testing.assert_array_equal(share.column_indices_, J)


@pytest.mark.parametrize("tol", [0.4, 0.1, 0.03])
@pytest.mark.parametrize("make", [np.asarray, sp.csr_array])
def test_a_tolerance_is_met_from_a_sketch_too(tol, make, seed):
    A = with_spectrum(1 / np.arange(1.0, 301), 900, 300, seed)
    selector = CURSelector(tol=tol, random_state=seed).fit(make(A))
    assert selector.error_estimate_ <= tol
    assert selector.error_estimate_ == pytest.approx(
        true_error(A, selector.column_indices_), abs=1e-6
    )
    R = scipy.linalg.qr(A, mode="r", pivoting=True)[0]
    left = [np.linalg.norm(R[k:300]) / np.linalg.norm(R) for k in range(301)]
    fewest = int(np.argmax(np.array(left) <= tol))
    assert abs(selector.n_components_ - fewest) <= 0.1 * fewest + 1


def test_the_default_meets_its_tolerance():
    selector = CURSelector(random_state=0).fit(TALL)
    assert selector.error_estimate_ <= 0.1
    assert true_error(TALL, selector.column_indices_[:-1]) > 0.1


def gained(X, T, J):
    return np.linalg.norm(T) ** 2 - np.linalg.norm(left_by(X[:, list(J)], T)) ** 2


@pytest.mark.parametrize("n_targets", [1, 3])
def test_for_y_alone_it_is_orthogonal_least_squares(n_targets, seed):
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((60, 12))
    y = X @ rng.standard_normal((12, n_targets)) + rng.standard_normal((60, n_targets))
    selector = CURSelector(7, method="supervised", mixing=0.0)
    J = selector.fit(X, y[:, 0] if n_targets == 1 else y).column_indices_
    X, T = X - X.mean(axis=0), y - y.mean(axis=0)
    for i in range(7):
        rest = set(range(12)) - set(J[:i].tolist())
        gains = {j: gained(X, T, [*J[:i], j]) for j in rest}
        assert gains[J[i]] >= (1 - 1e-9) * max(gains.values())


@pytest.mark.parametrize("mixing", [0.0, 0.3, 0.5, 1.0])
@pytest.mark.parametrize("labels", [True, False])
def test_mixing_weighs_the_data_against_y(mixing, labels, seed):
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((80, 10)) * np.linspace(1, 3, 10)
    y = rng.integers(3, size=80) if labels else rng.standard_normal(80)
    # Classes are indicators; both, centred, and both of the same norm. Columns of the data
    # count the same whatever their units.
    T = LabelBinarizer().fit_transform(y) if labels else y[:, np.newaxis]
    T = T - T.mean(axis=0)
    J = CURSelector(5, method="supervised", mixing=mixing).fit(X, y).column_indices_
    X = X - X.mean(axis=0)
    # What X cannot express is no part of what is shared out.
    T = T - left_by(X, T)
    T, S = T / np.linalg.norm(T), X / np.linalg.norm(X, axis=0) / np.sqrt(10)
    for i in range(5):
        rest = set(range(10)) - set(J[:i].tolist())
        gains = {
            j: mixing * gained(X, S, [*J[:i], j]) + (1 - mixing) * gained(X, T, [*J[:i], j])
            for j in rest
        }
        assert gains[J[i]] >= (1 - 1e-9) * max(gains.values())
    if mixing == 1:
        greedy = CURSelector(5, method="greedy", sketch_size=1000).fit(S)
        np.testing.assert_array_equal(J, greedy.column_indices_)


def test_a_large_mean_makes_no_column_predictive(seed):
    rng = np.random.default_rng(seed)
    X, y = rng.standard_normal((100, 8)), rng.standard_normal(100)
    expected = CURSelector(4, method="supervised").fit(X, y).column_indices_
    shifted = X + np.linspace(0, 1000, 8)
    selector = CURSelector(4, method="supervised").fit(shifted, y)
    np.testing.assert_array_equal(selector.column_indices_, expected)
    C = selector.transform(shifted)
    residual = shifted - selector.inverse_transform(C)
    assert np.abs(C.T @ residual).max() <= 1e-8 * np.abs(C.T @ shifted).max()
    error = np.linalg.norm(residual) / np.linalg.norm(shifted)
    np.testing.assert_allclose(selector.error_estimate_, error, atol=1e-6)


def test_labels_of_any_kind_are_classes(seed):
    X, y = load_iris(return_X_y=True)
    X = StandardScaler().fit_transform(X)
    selector = CURSelector(2, method="supervised", random_state=seed)
    expected = selector.fit(X, y).column_indices_
    for labels in (y.astype(str), y.tolist(), y[::-1][::-1].astype(np.uint8), 7 * y - 3):
        np.testing.assert_array_equal(selector.fit(X, labels).column_indices_, expected)
    two = y > 0
    expected = selector.fit(X, two).column_indices_
    for labels in (two.astype(int), np.where(two, "a", "b"), 1 - two):
        np.testing.assert_array_equal(selector.fit(X, labels).column_indices_, expected)


@pytest.mark.parametrize("make", [np.asarray, sp.csr_array])
def test_columns_that_y_is_made_of_are_found(make, seed):
    # y is a combination of four of 100 columns, with a tenth of noise. Of 3000 rows, an
    # unrelated column has a correlation of 1 / sqrt(3000) with it: chosen before one of
    # the four, of 1 / 2, with a probability beyond rounding. The sketch of 2048 rows
    # keeps correlations to 1 / sqrt(2048), still 20 deviations away.
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((3000, 100))
    X[:, 50:] *= 10
    y = X[:, [3, 14, 15, 40]] @ np.array([1.0, -1, 1, -1]) + 0.2 * rng.standard_normal(3000)
    selector = CURSelector(4, method="supervised", mixing=0.0, random_state=seed)
    assert set(selector.fit(make(X), y).column_indices_) == {3, 14, 15, 40}
    by_scale = CURSelector(4, random_state=seed).fit(make(X))
    assert by_scale.column_indices_.min() >= 50


@pytest.mark.parametrize("method", ["cpqr", "lupp", "qdeim", "greedy", "leverage-top"])
@REFINE
def test_columns_follow_a_permutation(method, refine):
    A = np.random.default_rng(0).standard_normal((60, 25))
    order = np.random.default_rng(9).permutation(25)
    params = {"method": method, "refine": refine, "sketch_size": 1000}
    expected = CURSelector(6, **params).fit(A)
    permuted = CURSelector(6, **params).fit(A[:, order])
    np.testing.assert_array_equal(order[permuted.column_indices_], expected.column_indices_)
    assert permuted.error_estimate_ == pytest.approx(expected.error_estimate_)


def test_scale_decides_which_columns_come_first():
    rng = np.random.default_rng(0)
    A = rng.standard_normal((400, 8))
    scale = rng.permutation(4.0 ** np.arange(8))
    for method in ("cpqr", "greedy", "leverage-top", "qdeim"):
        selector = CURSelector(3, method=method, random_state=0).fit(A * scale)
        largest = np.argsort(-scale)[:3]
        assert set(selector.column_indices_) == set(largest)
    np.testing.assert_array_equal(
        CURSelector(3, random_state=0).fit(A * scale).column_indices_, largest
    )


@EACH_METHOD
def test_columns_of_zeros_and_copies_wait_until_last(method, seed):
    rng = np.random.default_rng(seed)
    A = rng.standard_normal((300, 6))
    A = np.concatenate([A, A, np.zeros((300, 3)), np.full((300, 1), 0.5)], axis=1)
    for make in (np.asarray, sp.csr_array):
        selector = CURSelector(7, method=method, random_state=seed)
        selector.fit(make(A), rng.standard_normal(300))
        assert np.linalg.matrix_rank(A[:, selector.column_indices_]) == 7
        assert selector.error_estimate_ <= 1e-6


def test_leverage_scores_are_those_of_the_columns(seed):
    A = with_spectrum(0.5 ** np.arange(12), 90, 12, seed)
    selector = CURSelector(4, compute_leverage_scores=True, random_state=seed).fit(A)
    V = np.linalg.svd(A)[2][:4]
    np.testing.assert_allclose(selector.leverage_scores_, np.sum(V**2, axis=0), atol=1e-6)
    assert not hasattr(CURSelector(4).fit(A), "leverage_scores_")
    selector.set_params(compute_leverage_scores=False).fit(A)
    assert not hasattr(selector, "leverage_scores_")


def test_what_a_fit_without_rows_lacks_is_gone():
    names = ("row_indices_", "row_weights_", "C_", "U_", "R_")
    selector = CURSelector(3, n_rows=4, random_state=0).fit(TALL)
    assert all(hasattr(selector, name) for name in names)
    selector.set_params(n_rows=None).fit(TALL)
    assert not any(hasattr(selector, name) for name in names)


def test_it_takes_two_passes_over_large_data():
    assert CURSelector(5, random_state=0).fit(TALL).n_passes_ == 2
    assert CURSelector(5, random_state=0).fit(sp.csr_array(TALL)).n_passes_ == 2
    assert CURSelector(5, method="qdeim", random_state=0).fit(TALL).n_passes_ > 2


@EACH_METHOD
def test_single_precision_stays_single_and_close(method):
    A = TALL.astype(np.float32)
    selector = CURSelector(5, n_rows=6, method=method, random_state=0).fit(A, Y)
    for name in ("interpolation_", "C_", "U_", "R_"):
        assert getattr(selector, name).dtype == np.float32
    assert selector.transform(A).dtype == np.float32
    approximation = selector.C_ @ selector.U_ @ selector.R_
    error = np.linalg.norm(approximation - TALL) / np.linalg.norm(TALL)
    assert selector.error_estimate_ == pytest.approx(error, rel=1e-3)
    assert CURSelector(1).fit_transform(np.eye(3, dtype=int)).dtype.kind in "if"


@EACH_METHOD
def test_a_seed_decides_everything(method):
    A = with_spectrum(np.ones(60), 300, 60)

    def chosen(random_state):
        selector = CURSelector(5, method=method, random_state=random_state, sketch_size=50)
        return selector.fit(A, A[:, 0]).column_indices_.tolist()

    assert chosen(3) == chosen(np.int64(3))
    assert chosen(np.random.RandomState(3)) == chosen(np.random.RandomState(3))
    if method not in ("qdeim", "leverage-top"):
        # Those two are made of singular vectors, which a Gram matrix of 60 columns gives.
        assert any(chosen(3) != chosen(seed) for seed in range(4, 8))


@EACH_METHOD
def test_neither_blocks_nor_threads_change_the_columns(method):
    expected = CURSelector(5, method=method, random_state=3).fit(TALL, Y)
    for params in ({"block_size": 37}, {"block_size": 37, "n_jobs": 2}, {"n_jobs": 2}):
        selector = CURSelector(5, method=method, random_state=3, **params).fit(TALL, Y)
        np.testing.assert_array_equal(selector.column_indices_, expected.column_indices_)
        assert_close_to_scale(selector.interpolation_, expected.interpolation_, float, 1e4)
        assert selector.error_estimate_ == pytest.approx(expected.error_estimate_)


def test_an_estimator_survives_cloning_and_pickling():
    selector = CURSelector(5, n_rows=6, method="greedy", random_state=0)
    copied = clone(selector).fit(TALL)
    assert copied.get_params() == selector.get_params()
    back = pickle.loads(pickle.dumps(copied))
    np.testing.assert_array_equal(back.transform(TALL), copied.transform(TALL))
    np.testing.assert_array_equal(back.U_, copied.U_)
    assert CURSelector(method="supervised").__sklearn_tags__().target_tags.required
    assert not selector.__sklearn_tags__().target_tags.required
    assert selector.__sklearn_tags__().input_tags.sparse


def test_a_search_chooses_columns_and_method():
    X, y = make_classification(
        300, 30, n_informative=4, n_redundant=10, shuffle=True, random_state=0
    )
    pipeline = make_pipeline(
        StandardScaler(), CURSelector(random_state=0), LogisticRegression()
    )
    search = GridSearchCV(
        pipeline,
        {
            "curselector__n_components": [2, 8, 0.9],
            "curselector__method": ["cpqr", "supervised"],
        },
        cv=3,
        error_score="raise",
    ).fit(X, y)
    # Half is chance.
    assert search.best_score_ > 0.65
    scores = search.cv_results_["mean_test_score"]
    assert len(scores) == 6
    assert np.isfinite(scores).all()
    best = search.best_estimator_["curselector"]
    assert search.predict(X).shape == (300,)
    assert best.get_feature_names_out().shape == (best.n_components_,)


@pytest.mark.parametrize("refine", [None, "swap"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_fewer_columns_of_ill_conditioned_data_come_with_a_warning(refine, dtype):
    kernel = np.exp(-(np.subtract.outer(*[np.linspace(0, 1, 80)] * 2) ** 2))
    for X in (np.vander(np.linspace(0, 1, 300), 60), scipy.linalg.hilbert(40), kernel):
        k = X.shape[1]
        selector = CURSelector(k, refine=refine)
        with pytest.warns(UserWarning, match=f"n_components={k} exceeds"):
            selector.fit(X.astype(dtype))
        assert 3 < selector.n_components_ < k
