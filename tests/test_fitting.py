"""What surrounds every fit: undo on failure, callbacks, and the line that warnings name."""

import inspect
import sys
import warnings
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.model_selection import cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import sklearn_rnla
from sklearn_rnla import (
    CURSelector,
    MatrixCompleter,
    MatrixFactorizationRegressor,
    NystroemGaussianProcessRegressor,
    NystroemKernel,
    NystroemRidge,
    NystroemRidgeClassifier,
    NystroemSpectralClustering,
    RandomizedPCA,
    SketchedRidge,
    SketchProjection,
)
from tests.matrices import with_spectrum

rng = np.random.default_rng(0)
X = rng.standard_normal((120, 6))
Y = X @ rng.standard_normal(6) + 0.1 * rng.standard_normal(120)
CLASSES = Y > 0
PAIRS = np.column_stack(np.unravel_index(rng.permutation(300)[:250], (20, 15)))
VALUES = rng.standard_normal(250)
HOLES = np.where(rng.random(X.shape) < 0.1, np.nan, X)

# An estimator, its data, and a parameter that makes it fail after some work.
FITS = [
    (CURSelector(2, random_state=0), (X,)),
    (MatrixCompleter(1, random_state=0), (HOLES,)),
    (MatrixFactorizationRegressor(1, random_state=0), (PAIRS, VALUES)),
    (NystroemGaussianProcessRegressor(n_landmarks=10, random_state=0), (X, Y)),
    (NystroemKernel(n_components=10, random_state=0), (X,)),
    (NystroemRidge(n_landmarks=10, random_state=0), (X, Y)),
    (NystroemRidgeClassifier(n_landmarks=10, random_state=0), (X, CLASSES)),
    (NystroemSpectralClustering(2, gamma=0.1, random_state=0), (X,)),
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


def test_every_public_estimator_is_here():
    public = {
        name
        for name in sklearn_rnla.__all__
        if hasattr(getattr(sklearn_rnla, name), "get_params")
    }
    assert public == {type(estimator).__name__ for estimator, _ in FITS}


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
    assert not hasattr(copy, "_fit_task")
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
        (NystroemRidge(n_landmarks=10, random_state=0), (X, Y)),
        (NystroemGaussianProcessRegressor(n_landmarks=10, random_state=0), (X, Y)),
        (NystroemRidgeClassifier(n_landmarks=10, random_state=0), (X, CLASSES)),
        (MatrixFactorizationRegressor(1, random_state=0), (PAIRS, VALUES)),
        (make_pipeline(StandardScaler(), SketchedRidge()), (X, Y)),
    ],
    ids=lambda value: type(value).__name__,
)
def test_scoring_monitor_records_the_score_of_the_fit(estimator, data):
    callback = pytest.importorskip("sklearn.callback")
    scoring = "accuracy" if data[1] is CLASSES else "r2"
    monitor = callback.ScoringMonitor(scoring=scoring)
    last = estimator[-1] if hasattr(estimator, "steps") else estimator
    last.set_callbacks(monitor)
    score = estimator.fit(*data).score(*data)
    last.set_callbacks()
    assert monitor.get_logs().data[0][scoring] == pytest.approx(score)


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


def repeated(n):
    return np.repeat(np.eye(2), n, axis=0)


# What draws a sketch, searches a graph or factors a matrix.
EXPENSIVE = {
    *("svd", "qr", "eigh", "cholesky", "lstsq", "pinv", "inv", "solve", "dct", "fft"),
    *("tiled", "random", "standard_normal", "connected_components", "check_array"),
    *("fold", "map", "matmat", "describe_sampling"),
}


@over_estimators
def test_showing_a_fitted_estimator_computes_nothing(estimator, data):
    fitted = clone(estimator).fit(*data)
    called = set()

    def note(frame, event, argument):
        if event == "call":
            called.add(frame.f_code.co_name)
        elif event == "c_call":
            called.add(argument.__name__)

    sys.setprofile(note)
    try:
        # scikit-learn evaluates all that getmembers finds.
        members = dict(inspect.getmembers(fitted))
        fitted._repr_html_()
    finally:
        sys.setprofile(None)
    assert members["n_features_in_"] == fitted.n_features_in_
    assert not called & EXPENSIVE


FLAT = with_spectrum(np.arange(1.0, 201) ** -0.3, 2000, 200)
ALL = {"gamma": 0.3, "n_landmarks": 5, "exact": True, "random_state": 0}

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
    "kernel ridge": lambda: NystroemRidge(1e-3, max_iter=1, **ALL).fit(X, Y),
    "classifier": lambda: NystroemRidgeClassifier(1e-3, max_iter=1, **ALL).fit(X, CLASSES),
    "completer": lambda: MatrixCompleter(1, solver="als", max_iter=1, tol=1e-14).fit(HOLES),
    "places": lambda: MatrixCompleter(1, solver="exact", tol=1.0).fit(
        np.where(np.eye(6, dtype=bool), 1.0, np.nan)
    ),
    "empty column": lambda: MatrixCompleter(1).fit(np.insert(X, 2, np.nan, axis=1)),
    "factorization": lambda: MatrixFactorizationRegressor(
        1, solver="als", max_iter=1, tol=1e-14
    ).fit(PAIRS, VALUES),
    "clustering": lambda: NystroemSpectralClustering(3, n_landmarks=10).fit(repeated(20)),
    "clustering far": lambda: NystroemSpectralClustering(2, n_landmarks=5, gamma=1e6).fit(
        X
    ),
    "in a pipeline": lambda: make_pipeline(StandardScaler(), SketchProjection(9)).fit(X),
    "column": lambda: MatrixFactorizationRegressor(1).fit(PAIRS, VALUES[:, np.newaxis]),
    "column of classes": lambda: NystroemRidgeClassifier().fit(X, CLASSES[:, np.newaxis]),
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


def test_no_module_counts_frames_by_hand():
    files = list(Path(sklearn_rnla.__file__).parent.rglob("*.py"))
    counting = {path.name for path in files if "warnings.warn(" in path.read_text()}
    assert counting == {"_fitting.py"}


@pytest.mark.parametrize(
    "estimator", [fit[0] for fit in FITS], ids=lambda e: type(e).__name__
)
def test_its_html_links_to_the_page_of_the_class(estimator):
    name = type(estimator).__name__
    link = f"https://sklearn-rnla.readthedocs.io/en/latest/api/generated/sklearn_rnla.{name}.html"
    assert estimator._get_doc_link() == link
    assert f'href="{link}"' in estimator._repr_html_()
    # The page is one of those that autosummary makes.
    api = (Path(__file__).parent.parent / "doc" / "api.rst").read_text()
    assert f"\n   {name}\n" in api[: api.index("currentmodule:: sklearn_rnla.linalg")]
