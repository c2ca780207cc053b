"""Displays show what they are given."""

import subprocess
import sys
import warnings
from types import SimpleNamespace

import numpy as np
import pytest
import scipy.sparse as sp

matplotlib = pytest.importorskip("matplotlib")
matplotlib.use("Agg")

import matplotlib.pyplot as plt  # noqa: E402
from matplotlib.colors import to_rgb  # noqa: E402
from sklearn.datasets import make_blobs  # noqa: E402
from sklearn.decomposition import PCA, TruncatedSVD  # noqa: E402
from sklearn.exceptions import NotFittedError  # noqa: E402
from sklearn.pipeline import make_pipeline  # noqa: E402
from sklearn.preprocessing import StandardScaler  # noqa: E402

from sklearn_rnla import (  # noqa: E402
    CURSelector,
    MatrixCompleter,
    NystroemKernel,
    NystroemRidge,
    NystroemSpectralClustering,
    RandomizedPCA,
    linear_cka,
    principal_angles,
    representation_spectrum,
    subspace_overlap,
)
from sklearn_rnla.plotting import (  # noqa: E402
    CompletionHistoryDisplay,
    EigengapDisplay,
    ExplainedVarianceDisplay,
    LandmarksDisplay,
    ReconstructionErrorDisplay,
    SimilarityDisplay,
    SpectrumDisplay,
)
from sklearn_rnla.plotting.axes import MUTED, PALETTE  # noqa: E402

X = np.random.default_rng(0).standard_normal((60, 8)) * np.arange(1, 9)


@pytest.fixture(autouse=True)
def close_figures():
    yield
    plt.close("all")


def test_spectra_of_results_estimators_and_arrays_are_the_same():
    found = representation_spectrum(X)
    display = SpectrumDisplay.from_spectra(
        {
            "result": found,
            "leading": representation_spectrum(X, 3),
            "estimator": RandomizedPCA(3, random_state=0).fit(X),
            "peer": PCA(3).fit(X),
            "array": found.eigenvalues,
        }
    ).plot()
    whole = display.lines_[0].get_ydata()
    assert whole.sum() == pytest.approx(1)
    for line in display.lines_[1:]:
        y = line.get_ydata()
        np.testing.assert_allclose(y, whole[: len(y)])
    assert display.ax_.figure is display.figure_
    assert display.ax_.get_xscale() == display.ax_.get_yscale() == "log"
    labels = [text.get_text() for text in display.ax_.get_legend().get_texts()]
    assert labels == ["result", "leading", "estimator", "peer", "array"]


def test_kinds_of_spectra_differ_in_their_heights():
    display = SpectrumDisplay.from_spectra({"a": representation_spectrum(X)})
    variance = display.plot(kind="variance").lines_[0].get_ydata()
    np.testing.assert_allclose(variance, representation_spectrum(X).eigenvalues)
    cumulative = display.plot(kind="cumulative").lines_[0].get_ydata()
    np.testing.assert_allclose(cumulative, np.cumsum(variance) / variance.sum())
    assert display.ax_.get_yscale() == "linear"
    assert display.ax_.get_legend() is None


def test_plots_go_where_they_are_told_and_take_settings():
    _, (left, right) = plt.subplots(1, 2)
    display = SpectrumDisplay.from_spectra({1: [2.0, 1.0, 0.0]})
    line = display.plot(left, color="red", label="other").lines_[0]
    assert display.ax_ is left
    assert line.get_color() == "red"
    assert line.get_label() == "other"
    # Zero has no place on a logarithmic axis.
    assert np.isnan(line.get_ydata()[2])
    heat = SimilarityDisplay.from_matrix(np.eye(2), "ab").plot(
        right, colorbar=False, im_kw={"vmin": -1}
    )
    assert heat.ax_ is right
    assert heat.colorbar_ is None
    assert heat.im_.get_clim() == (-1, 1)


def test_a_spectrum_of_nothing_can_be_drawn():
    display = SpectrumDisplay.from_spectra(
        {"zero": representation_spectrum(np.ones((9, 3)))}
    )
    for kind in ("share", "variance", "cumulative"):
        display.plot(kind=kind)


def test_similarities_are_those_of_all_pairs():
    layers = {"one": X, "two": X[:, :3], "three": np.tanh(X)}
    display = SimilarityDisplay.from_representations(layers, linear_cka)
    expected = [
        [linear_cka(a, b).similarity for a in layers.values()] for b in layers.values()
    ]
    np.testing.assert_allclose(display.similarities, expected)
    display.plot()
    np.testing.assert_array_equal(display.im_.get_array(), display.similarities)
    assert display.name == "linear_cka"
    assert display.colorbar_.ax.get_ylabel() == "linear_cka"
    assert [t.get_text() for t in display.ax_.get_xticklabels()] == list(layers)
    assert display.text_[0, 0].get_text() == "1.00"


def test_two_sets_of_representations_make_a_rectangle():
    bases = {"a": np.eye(4)[:2], "b": np.eye(4)[1:3]}
    display = SimilarityDisplay.from_representations(
        bases, subspace_overlap, columns={"c": np.eye(4)[:1]}, name="overlap"
    ).plot()
    np.testing.assert_allclose(display.similarities, [[1], [0]], atol=1e-15)
    assert display.row_names == ["a", "b"]
    assert display.column_names == ["c"]


def test_numbers_are_left_out_of_large_maps_and_blanks_have_one():
    large = SimilarityDisplay.from_matrix(np.eye(20), range(20)).plot()
    assert large.text_ is None
    matrix = np.array([[1.0, np.nan], [np.nan, 0.0]])
    texts = SimilarityDisplay.from_matrix(matrix, "ab").plot().text_
    assert texts[0, 1].get_text() == "nan"
    assert (
        SimilarityDisplay.from_matrix(matrix, "ab").plot(include_values=False).text_ is None
    )


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: SpectrumDisplay.from_spectra({}), "spectra is empty"),
        (lambda: SpectrumDisplay.from_spectra({"a": np.eye(2)}), "must be a vector"),
        (lambda: SpectrumDisplay.from_spectra({"a": PCA()}), "not fitted yet"),
        (lambda: SpectrumDisplay.from_spectra({1: [1.0], "1": [1.0]}), "same as strings"),
        (lambda: SpectrumDisplay.from_spectra({"a": [1.0]}).plot(kind="x"), "kind='x'"),
        (lambda: SimilarityDisplay.from_matrix(np.eye(3), "ab"), "a row for each of 2"),
    ],
)
def test_misuse_is_refused_with_the_reason(call, message):
    with pytest.raises(ValueError, match=message):
        call()


@pytest.mark.parametrize("spectra", [np.ones(3), representation_spectrum(X), ["a"]])
def test_spectra_without_names_are_refused(spectra):
    with pytest.raises(TypeError, match="spectra must be a dict, such as"):
        SpectrumDisplay.from_spectra(spectra)


def test_similarities_that_are_not_numbers_are_refused():
    with pytest.raises(ValueError, match="similarity must return a number"):
        SimilarityDisplay.from_representations({"a": X, "b": X}, principal_angles)
    with pytest.raises(TypeError, match="rows must be a dict"):
        SimilarityDisplay.from_representations([X, X], linear_cka)


def test_a_single_point_is_seen():
    display = SpectrumDisplay.from_spectra({"one": [2.0], "two": [2.0, 1.0]}).plot()
    assert [line.get_marker() for line in display.lines_] == [".", "None"]


def _legend(ax):
    return [text.get_text() for text in ax.get_legend().get_texts()]


def test_a_scree_plot_shows_variances_and_how_sure_they_are():
    pca = RandomizedPCA(3, algorithm="one-view", random_state=0).fit(X)
    display = ExplainedVarianceDisplay.from_estimator(pca, thresholds=[0.5, 0.999]).plot()
    np.testing.assert_allclose(display.line_.get_ydata(), pca.explained_variance_ratio_)
    assert display.ax_.get_yscale() == "log"
    assert display.ax_.get_xlabel() == "component"
    # The best components have no more variance than the top of the band.
    best = np.linalg.eigvalsh(np.cov(X.T))[::-1][:3]
    assert best.sum() <= pca.explained_variance_.sum() + display.lacking
    top = display.band_.get_paths()[0].vertices[:, 1].max() * display.total_variance
    assert top == pytest.approx(pca.explained_variance_[0] + display.lacking)
    share = np.cumsum(pca.explained_variance_ratio_)
    k = 1 + int(np.argmax(share >= 0.5))
    assert display.thresholds == {"50 % of variance": k, "99.9 % of variance": None}
    (mark,) = display.threshold_lines_.values()
    assert list(mark.get_xdata()) == [k, k]
    assert _legend(display.ax_)[2:] == [
        f"50 % of variance: {k}",
        "99.9 % of variance: more than 3",
    ]
    cumulative = display.plot(kind="cumulative")
    np.testing.assert_allclose(cumulative.line_.get_ydata(), share)
    assert cumulative.ax_.get_yscale() == "linear"
    assert display.plot(kind="variance", scale="linear").ax_.get_yscale() == "linear"


def test_thresholds_are_those_that_n_components_takes():
    rng = np.random.default_rng(0)
    A = rng.standard_normal((300, 4)) @ rng.standard_normal((4, 20)) * 3
    A += rng.standard_normal(A.shape)
    whole = PCA().fit(A)
    marks = ExplainedVarianceDisplay.from_estimator(
        whole, thresholds=["gavish-donoho", "mle", 0.9]
    ).thresholds
    assert list(marks) == ["gavish-donoho", "mle", "90 % of variance"]
    for n_components in ("gavish-donoho", "mle", 0.9):
        mark = marks.get(n_components, marks["90 % of variance"])
        assert mark == RandomizedPCA(n_components, random_state=0).fit(A).n_components_
    assert ExplainedVarianceDisplay.from_estimator(whole).plot().band_ is None


def test_errors_by_number_of_landmarks_are_those_of_as_many_landmarks():
    nystroem = NystroemKernel(n_components=12, gamma=0.01, random_state=0).fit(X)
    display = LandmarksDisplay.from_estimator(nystroem, X).plot(kind="error")
    errors = display.line_.get_ydata()
    assert errors[0] == 1
    assert errors[-1] == pytest.approx(nystroem.error_estimate_)
    fewer = NystroemKernel(landmarks=nystroem.component_indices_[:5], gamma=0.01).fit(X)
    assert errors[5] == pytest.approx(fewer.error_estimate_)
    assert display.ax_.get_xlabel() == "landmarks"


@pytest.mark.parametrize("p", [1, 2, 3])
def test_landmarks_are_shown_where_their_samples_are(p):
    A = X[:, :p]
    ridge = NystroemRidge(gamma=0.1, n_landmarks=7, random_state=0).fit(A, A[:, 0])
    display = LandmarksDisplay.from_estimator(ridge, A).plot()
    shown = np.asarray(display.landmarks_.get_offsets())
    samples = np.asarray(display.samples_.get_offsets())
    np.testing.assert_allclose(shown, samples[ridge.component_indices_], atol=1e-12)
    if p == 2:
        np.testing.assert_array_equal(samples, A)
        assert display.ax_.get_xlabel() == "feature 1"


def test_landmarks_of_any_kernel_of_samples_are_shown():
    B = sp.random(50, 30, density=0.2, format="csr", random_state=0)
    for model in (
        NystroemKernel("cosine", n_components=5, random_state=0),
        NystroemKernel(landmarks="kmeans", n_components=5, random_state=0),
        NystroemSpectralClustering(2, gamma=0.1, n_landmarks=5, random_state=0),
    ):
        display = LandmarksDisplay.from_estimator(model.fit(B), B)
        assert display.landmarks.shape == (5, 2)
        assert np.all(np.diff(display.errors) <= 1e-9)
    indefinite = NystroemKernel("sigmoid", gamma=9, n_components=9, random_state=0).fit(X)
    with pytest.raises(ValueError, match="negative eigenvalues"):
        LandmarksDisplay.from_estimator(indefinite, X).plot(kind="error")


def test_histories_say_what_is_measured():
    A = np.where(np.random.default_rng(1).random(X.shape) < 0.2, np.nan, X)
    for solver, measure, scale in (
        ("als", "RMSE of held-out entries", "linear"),
        ("gibbs", "RMSE of the entries seen", "linear"),
        ("em", "penalised log-likelihood per entry", "linear"),
        ("softimpute", "objective, relative to zero", "linear"),
        ("exact", "residual, relative to the entries", "log"),
    ):
        completer = MatrixCompleter(2, solver=solver, max_iter=5, random_state=0)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            completer.fit(A)
        display = CompletionHistoryDisplay.from_estimator(completer).plot()
        np.testing.assert_array_equal(display.line_.get_ydata(), completer.history_)
        assert (display.ax_.get_ylabel(), display.ax_.get_yscale()) == (measure, scale)
        has_line = solver in ("als", "gibbs")
        assert (display.held_out_line_ is not None) == has_line
        if has_line:
            height = display.held_out_line_.get_ydata()[0]
            assert height == completer.held_out_error_


def test_the_gap_is_shown_between_the_eigenvalues_that_it_parts():
    A, _ = make_blobs(300, centers=[(0, 0), (6, 0), (0, 6)], random_state=0)
    clustering = NystroemSpectralClustering(2, gamma=0.1, random_state=0).fit(A)
    display = EigengapDisplay.from_estimator(clustering).plot(scale="linear")
    heights = display.line_.get_ydata()
    np.testing.assert_allclose(heights, 1 - clustering.eigenvalues_[: len(heights)])
    assert _legend(display.ax_) == ["eigenvalues", "gap after 3", "n_clusters=2"]
    asked = EigengapDisplay.from_estimator(clustering.set_params(n_clusters=3))
    assert asked.plot(n_eigenvalues=5).n_clusters_line_ is None
    assert len(asked.line_.get_ydata()) == 5
    assert asked.ax_.get_yscale() == "log"


def test_errors_by_rank_are_those_of_models_of_that_rank():
    missing = np.where(np.random.default_rng(1).random(X.shape) < 0.1, np.nan, X)
    models = {
        "PCA": RandomizedPCA(4, algorithm="gram").fit(X),
        "SVD": TruncatedSVD(4, algorithm="arpack").fit(X),
        "CUR": CURSelector(4, random_state=0).fit(X),
        "als": MatrixCompleter(2, solver="als", random_state=0).fit(missing),
        "gibbs": MatrixCompleter(2, solver="gibbs", random_state=0).fit(missing),
    }
    display = ReconstructionErrorDisplay.from_estimators(models, X).plot()
    errors = display.errors
    norm = np.linalg.norm(X)
    centred = X - X.mean(axis=0)
    s, t = (np.linalg.svd(A, compute_uv=False) for A in (centred, X))
    rest = [np.sqrt(np.sum(s[k:] ** 2)) / norm for k in range(5)]
    np.testing.assert_allclose(errors["PCA"], rest)
    np.testing.assert_allclose(errors["SVD"][-1], np.sqrt(np.sum(t[4:] ** 2)) / norm)
    assert errors["CUR"][0] == pytest.approx(1)
    assert errors["CUR"][-1] == pytest.approx(models["CUR"].error_estimate_)
    for name in ("als", "gibbs"):
        left = X - models[name].predict(missing)
        assert len(errors[name]) == 3
        assert errors[name][-1] == pytest.approx(np.linalg.norm(left) / norm, rel=1e-4)
    assert _legend(display.ax_) == list(models)
    one = ReconstructionErrorDisplay.from_estimator(models["CUR"], X)
    np.testing.assert_array_equal(one.errors["CURSelector"], errors["CUR"])


def test_spectra_and_similarities_come_from_estimators():
    pca = RandomizedPCA(3, random_state=0).fit(X)
    display = SpectrumDisplay.from_estimator(pca)
    assert list(display.spectra) == ["RandomizedPCA"]
    pipeline = make_pipeline(StandardScaler(), RandomizedPCA(2, random_state=0)).fit(X)
    steps = SimilarityDisplay.from_estimator(pipeline, X, linear_cka)
    assert steps.row_names == ["data", "standardscaler", "randomizedpca"]
    expected = linear_cka(StandardScaler().fit_transform(X), pipeline.transform(X))
    assert steps.similarities[1, 2] == pytest.approx(expected.similarity)


@pytest.mark.parametrize("ground", ["#ffffff", "#121212"])
def test_colours_are_seen_on_white_and_on_dark_ground(ground):
    def luminance(color):
        c = np.array(to_rgb(color))
        c = np.where(c <= 0.04045, c / 12.92, ((c + 0.055) / 1.055) ** 2.4)
        return float(c @ [0.2126, 0.7152, 0.0722])

    for color in (*PALETTE, MUTED):
        pair = sorted([luminance(color), luminance(ground)])
        assert (pair[1] + 0.05) / (pair[0] + 0.05) > 2.7


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (
            lambda: ExplainedVarianceDisplay.from_estimator(PCA()),
            NotFittedError,
            "not fitted",
        ),
        (
            lambda: ExplainedVarianceDisplay.from_estimator(PCA().fit(X), thresholds=[2]),
            ValueError,
            "threshold=2 must be",
        ),
        (
            lambda: ExplainedVarianceDisplay.from_estimator(
                TruncatedSVD().fit(X), thresholds=["gavish-donoho"]
            ),
            ValueError,
            "needs n_samples_",
        ),
        (
            lambda: LandmarksDisplay.from_estimator(PCA().fit(X), X),
            TypeError,
            "PCA has no landmarks",
        ),
        (
            lambda: LandmarksDisplay.from_estimator(
                NystroemKernel("precomputed").fit(X @ X.T), X
            ),
            ValueError,
            "precomputed kernel",
        ),
        (
            lambda: LandmarksDisplay.from_estimator(NystroemKernel().fit(X), X[:, 1:]),
            ValueError,
            "X has 7 features",
        ),
        (
            lambda: ReconstructionErrorDisplay.from_estimator(StandardScaler().fit(X), X),
            TypeError,
            "is no low-rank matrix",
        ),
        (
            lambda: ReconstructionErrorDisplay.from_estimator(PCA().fit(X), X[:, 1:]),
            ValueError,
            "X has 7 features",
        ),
        (
            lambda: SimilarityDisplay.from_estimator(PCA(), X, linear_cka),
            TypeError,
            "has no steps",
        ),
    ],
)
def test_what_cannot_be_shown_is_refused(call, error, message):
    with pytest.raises(error, match=message):
        call()


def test_without_matplotlib_the_error_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.pyplot", None)
    display = SpectrumDisplay.from_spectra({"a": [1.0]})
    with pytest.raises(ImportError, match=r"pip install .*plot"):
        display.plot()


def test_displays_are_imported_without_matplotlib():
    code = "import sys, sklearn_rnla.plotting; print('matplotlib' in sys.modules)"
    out = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert out.stdout.strip() == "False"


def test_any_result_with_eigenvalues_will_do():
    result = SimpleNamespace(eigenvalues=np.array([3.0, 1.0]))
    assert (
        SpectrumDisplay.from_spectra({"a": result}).plot().lines_[0].get_ydata()[0] == 0.75
    )
