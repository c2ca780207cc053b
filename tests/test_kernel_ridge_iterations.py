"""Iterations of NystroemRidge: how many, in how many threads, who watches."""

import re
import warnings

import numpy as np
import pytest
from joblib import parallel_config
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning

from sklearn_rnla import NystroemRidge
from sklearn_rnla.operators.feature_map import BLOCK_ROWS
from tests.invariants import assert_close_to_scale

RNG = np.random.default_rng(0)
X = RNG.standard_normal((200, 3))
Y = np.column_stack([np.sin(2 * X[:, 0]), X[:, 1] ** 2, X.sum(axis=1)])
Y = 5 + Y + 0.1 * RNG.standard_normal(Y.shape)
EVERY = np.arange(200)


def test_an_exact_preconditioner_needs_one_iteration():
    for params in ({"landmarks": EVERY, "solver": "cg"}, {"exact": True}):
        ridge = NystroemRidge(0.1, kernel="laplacian", **params).fit(X, Y)
        assert (ridge.solver_, ridge.n_iter_) == ("cg", 1)
    assert NystroemRidge(solver="direct").fit(X, Y).n_iter_ == 1


def test_more_landmarks_precondition_better(seed):
    ridge = NystroemRidge(1e-2, gamma=0.3, exact=True, random_state=seed)
    counts = [ridge.set_params(n_landmarks=k).fit(X, Y).n_iter_ for k in (10, 40, 160)]
    assert counts[0] > counts[1] > counts[2]


def test_rows_of_weight_zero_do_not_slow_the_iterations(seed):
    rng = np.random.default_rng(seed)
    rows, w = rng.standard_normal((5000, 3)), (np.arange(5000) % 20 == 0).astype(float)
    y = np.sin(rows[:, 0])
    ridge = NystroemRidge(
        1e-2, gamma=0.3, landmarks=rows[:40], solver="cg", random_state=seed
    )
    alone = ridge.fit(rows[w > 0], y[w > 0]).n_iter_
    assert ridge.fit(rows, y, w).n_iter_ <= 2 * alone


def test_too_few_iterations_warn_with_the_residual():
    ridge = NystroemRidge(
        1e-3, gamma=0.3, n_landmarks=20, exact=True, max_iter=1, random_state=0
    ).set_params(fit_intercept=False)
    with pytest.warns(ConvergenceWarning, match=r"max_iter \(now 1\)") as warned:
        ridge.fit(X, Y[:, 0])
    (said,) = re.findall(r"residual is (\S+) after", str(warned[0].message))
    rest = Y[:, 0] - ridge.predict(X) - 1e-3 * ridge.dual_coef_
    actual = np.linalg.norm(rest) / np.linalg.norm(Y[:, 0])
    # Two digits are said.
    assert float(said) == pytest.approx(actual, rel=0.06)
    assert warned[0].filename == __file__
    assert ridge.n_iter_ == 1


@pytest.mark.parametrize("params", [{"alpha": 0}, {"alpha": 1e-6}, {"alphas": [0.1, 1]}])
def test_left_to_itself_it_solves_directly_what_is_small(params):
    assert NystroemRidge(**params).fit(X, Y).solver_ == "direct"


@pytest.mark.parametrize(
    "params",
    [{"solver": "direct"}, {"solver": "cg"}, {"exact": True, "max_iter": 5}],
    ids=str,
)
def test_threads_change_nothing_but_rounding(params):
    n = 600 if "exact" in params else 2 * BLOCK_ROWS + 100
    rows = np.random.default_rng(0).standard_normal((n, 3))
    y = np.sin(rows[:, 0])
    ridge = NystroemRidge(0.1, n_landmarks=20, random_state=0, **params)
    with warnings.catch_warnings(category=ConvergenceWarning, action="ignore"):
        fitted = [clone(ridge).set_params(n_jobs=j).fit(rows, y) for j in (1, 2, -1)]
        with parallel_config(backend="threading", n_jobs=2):
            fitted.append(clone(ridge).fit(rows, y))
    for other in fitted[1:]:
        assert_close_to_scale(other.predict(rows), fitted[0].predict(rows), float, 1e4)
        assert other.n_iter_ == fitted[0].n_iter_


@pytest.mark.parametrize("params", [{"solver": "cg"}, {"exact": True}], ids=str)
def test_a_seed_decides_everything(params):
    def fit(random_state):
        ridge = NystroemRidge(n_landmarks=20, random_state=random_state, **params)
        return ridge.fit(X, Y).dual_coef_

    np.testing.assert_array_equal(fit(3), fit(3))
    state = np.random.RandomState
    np.testing.assert_array_equal(fit(state(3)), fit(state(3)))
    assert not np.array_equal(fit(3), fit(4))


class Recorder:
    """A callback that counts the tasks, and stops at one of them."""

    def __init__(self, last=None):
        self.tasks, self.last = [], last

    def setup(self, estimator, context):
        pass

    def on_fit_task_begin(self, estimator, context, **kwargs):
        self.tasks.append(context.task_name)

    def on_fit_task_end(self, estimator, context, **kwargs):
        return self.tasks.count("iteration") == self.last

    def teardown(self, estimator, context):
        pass


@pytest.mark.parametrize(
    "params", [{"solver": "direct"}, {"solver": "cg"}, {"exact": True}], ids=str
)
def test_callbacks_see_every_iteration(params):
    pytest.importorskip("sklearn.callback")
    pytest.importorskip("rich")
    from sklearn.callback import ProgressBar

    # Landmarks of one's own: none are drawn, which would be reported, too.
    ridge = NystroemRidge(0.1, gamma=0.3, landmarks=X[:40] + 0.1, **params)
    recorder = Recorder()
    ridge.set_callbacks(recorder).fit(X, Y)
    iterations = 0 if ridge.solver_ == "direct" else ridge.n_iter_
    assert recorder.tasks.count("iteration") == iterations
    ridge.set_callbacks(ProgressBar()).fit(X, Y)


def test_a_callback_can_stop_the_iterations():
    pytest.importorskip("sklearn.callback")
    ridge = NystroemRidge(1e-3, gamma=0.3, landmarks=np.arange(20), exact=True)
    with pytest.warns(ConvergenceWarning, match="after 3 iterations"):
        ridge.set_callbacks(Recorder(last=3)).fit(X, Y)
    assert ridge.n_iter_ <= 3
    assert np.isfinite(ridge.predict(X)).all()
