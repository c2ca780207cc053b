"""What surrounds every fit: undo on failure, callbacks, and the line that warnings name."""

import warnings
from contextlib import nullcontext

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.model_selection import cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sklearn_rnla import (
    CURSelector,
    RandomizedPCA,
    SketchedRidge,
    SketchProjection,
)
from tests.matrices import with_spectrum

rng = np.random.default_rng(0)
X = rng.standard_normal((120, 6))
Y = X @ rng.standard_normal(6) + 0.1 * rng.standard_normal(120)

# An estimator, its data, and a parameter that makes it fail after some work.
FITS = [
    (CURSelector(2, random_state=0), (X,)),
    (RandomizedPCA(2, random_state=0), (X,)),
    (SketchedRidge(random_state=0), (X, Y)),
    (SketchProjection(2, random_state=0), (X,)),
]
over_estimators = pytest.mark.parametrize(
    ("estimator", "data"), FITS, ids=[type(estimator).__name__ for estimator, _ in FITS]
)


class Recorder:
    """A callback that writes down what it is told, and may raise or ask to stop."""

    def __init__(self, error=None):
        self.events, self.data, self.error = [], [], error

    def setup(self, estimator, context):
        self.events.append("setup")

    def on_fit_task_begin(self, estimator, context):
        self.events.append(f"begin {context.task_name}")

    def on_fit_task_end(self, estimator, context, *, X, y, metadata, fitted_estimator):
        self.events.append(f"end {context.task_name}")
        self.data.append((X, y, metadata, fitted_estimator))
        if self.error is not None:
            raise self.error

    def teardown(self, estimator, context):
        self.events.append("teardown")


@over_estimators
def test_callbacks_see_the_fit_begin_and_end(estimator, data):
    pytest.importorskip("sklearn.callback")
    recorder = Recorder()
    fitted = clone(estimator).set_callbacks(recorder).fit(*data)
    assert recorder.events[:2] == ["setup", "begin fit"]
    assert recorder.events[-2:] == ["end fit", "teardown"]
    last_X, last_y, metadata, copy = recorder.data[-1]
    assert last_X is data[0]
    assert last_y is (data[1] if len(data) > 1 else None)
    assert metadata == {}
    assert vars(copy).keys() >= {name for name in vars(fitted) if name.endswith("_")}
    assert not [
        name for name in vars(fitted) if name.startswith(("_callback", "_fit_task"))
    ]


@over_estimators
@pytest.mark.parametrize("error", [ValueError("no more"), KeyboardInterrupt()], ids=repr)
def test_callbacks_are_torn_down_when_a_fit_fails(estimator, data, error):
    pytest.importorskip("sklearn.callback")
    recorder = Recorder(error)
    failing = clone(estimator).set_callbacks(recorder)
    before = vars(failing).copy()
    with pytest.raises(type(error)):
        failing.fit(*data)
    assert recorder.events[-1] == "teardown"
    assert recorder.events.count("teardown") == recorder.events.count("setup") == 1
    assert vars(failing).keys() == before.keys()
    assert all(vars(failing)[name] is before[name] for name in before)


@over_estimators
def test_progress_bar_survives_a_fit_that_fails(estimator, data):
    pytest.importorskip("sklearn.callback")
    pytest.importorskip("rich")
    from sklearn.callback import ProgressBar, _progressbar

    for callbacks in ([ProgressBar()], [ProgressBar(), Recorder(ValueError())]):
        with pytest.raises(ValueError) if len(callbacks) > 1 else nullcontext():
            clone(estimator).set_callbacks(*callbacks).fit(*data)
    assert not _progressbar._run_monitors


@pytest.mark.parametrize(
    ("estimator", "data"),
    [
        (SketchedRidge(solver="iterative", random_state=0), (X, Y)),
        (make_pipeline(StandardScaler(), SketchedRidge()), (X, Y)),
    ],
    ids=lambda value: type(value).__name__,
)
def test_scoring_monitor_records_the_score_of_the_fit(estimator, data):
    callback = pytest.importorskip("sklearn.callback")
    monitor = callback.ScoringMonitor(scoring="r2")
    last = estimator[-1] if hasattr(estimator, "steps") else estimator
    last.set_callbacks(monitor)
    score = estimator.fit(*data).score(*data)
    last.set_callbacks()
    assert monitor.get_logs().data[0]["r2"] == pytest.approx(score)


def test_callbacks_get_the_weights_as_metadata():
    pytest.importorskip("sklearn.callback")
    recorder, weight = Recorder(), np.ones(len(X))
    SketchedRidge().set_callbacks(recorder).fit(X, y=Y, sample_weight=weight)
    assert recorder.data[-1][2]["sample_weight"] is weight


def test_callbacks_do_not_use_up_an_iterator():
    pytest.importorskip("sklearn.callback")
    recorder = Recorder()
    RandomizedPCA(2).set_callbacks(recorder).fit(iter([X[:60], X[60:]]))
    assert recorder.data[-1][0] is None


def test_partial_fit_is_a_fit_as_well():
    pytest.importorskip("sklearn.callback")
    recorder = Recorder()
    RandomizedPCA(2).set_callbacks(recorder).partial_fit(X).partial_fit(X)
    assert recorder.events == ["setup", "begin fit", "end fit", "teardown"] * 2


FLAT = with_spectrum(np.arange(1.0, 201) ** -0.3, 2000, 200)

# One call for each warning of the package.
WARNING = {
    "pca": lambda: RandomizedPCA(
        10, algorithm="krylov", max_passes=1, tol=1e-8, random_state=0
    ).fit(FLAT),
    "ridge": lambda: SketchedRidge(0, solver="iterative", max_iter=1).fit(X, Y),
    "cur": lambda: CURSelector(2).fit(np.outer(Y, Y[:6])),
    "cur rows": lambda: CURSelector(1, n_rows=2).fit(np.outer(Y, Y[:6])),
    "projection": lambda: SketchProjection(9).fit(X),
    "projection by position": lambda: SketchProjection(9).fit_transform(X),
    "in a pipeline": lambda: make_pipeline(StandardScaler(), SketchProjection(9)).fit(X),
    "in cross validation": lambda: cross_val_score(
        SketchedRidge(0, solver="iterative", max_iter=1), X, Y, cv=2
    ),
}


@pytest.mark.parametrize("name", WARNING)
def test_warnings_are_of_the_line_of_the_caller(name):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        WARNING[name]()
    assert caught
    assert {warning.filename for warning in caught} == {__file__}
