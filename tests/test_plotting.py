"""Displays show what they are given."""

import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest

matplotlib = pytest.importorskip("matplotlib")
matplotlib.use("Agg")

import matplotlib.pyplot as plt  # noqa: E402
from sklearn.decomposition import PCA  # noqa: E402

from sklearn_rnla import (  # noqa: E402
    RandomizedPCA,
    linear_cka,
    principal_angles,
    representation_spectrum,
    subspace_overlap,
)
from sklearn_rnla.plotting import SimilarityDisplay, SpectrumDisplay  # noqa: E402

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
    with pytest.raises(TypeError, match="rows and columns must be dicts"):
        SimilarityDisplay.from_representations([X, X], linear_cka)


def test_a_single_point_is_seen():
    display = SpectrumDisplay.from_spectra({"one": [2.0], "two": [2.0, 1.0]}).plot()
    assert [line.get_marker() for line in display.lines_] == [".", "None"]


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
