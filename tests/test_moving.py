"""The page on moving from scikit-learn names all there is to name, and is right."""

import inspect
import re
from pathlib import Path

import pytest
from sklearn import (
    cluster,
    decomposition,
    gaussian_process,
    impute,
    kernel_approximation,
    kernel_ridge,
    linear_model,
    random_projection,
)
from sklearn.experimental import enable_iterative_imputer  # noqa: F401
from sklearn.utils import extmath

import sklearn_rnla
from sklearn_rnla import linalg

PAGE = Path(__file__).parent.parent / "doc" / "user_guide" / "moving.rst"
REPLACED = {
    "PCA": ([decomposition.PCA], sklearn_rnla.RandomizedPCA),
    "TruncatedSVD": ([decomposition.TruncatedSVD], sklearn_rnla.RandomizedPCA),
    "IncrementalPCA": ([decomposition.IncrementalPCA], sklearn_rnla.RandomizedPCA),
    "Nystroem": ([kernel_approximation.Nystroem], sklearn_rnla.NystroemKernel),
    "KernelRidge": ([kernel_ridge.KernelRidge], sklearn_rnla.NystroemRidge),
    "GaussianProcessRegressor": (
        [gaussian_process.GaussianProcessRegressor],
        sklearn_rnla.NystroemGaussianProcessRegressor,
    ),
    "SpectralClustering": (
        [cluster.SpectralClustering],
        sklearn_rnla.NystroemSpectralClustering,
    ),
    "SparseRandomProjection and GaussianRandomProjection": (
        [
            random_projection.SparseRandomProjection,
            random_projection.GaussianRandomProjection,
        ],
        sklearn_rnla.SketchProjection,
    ),
    "Ridge and LinearRegression": (
        [linear_model.Ridge, linear_model.LinearRegression],
        sklearn_rnla.SketchedRidge,
    ),
    "KNNImputer and IterativeImputer": (
        [impute.KNNImputer, impute.IterativeImputer],
        sklearn_rnla.MatrixCompleter,
    ),
    "extmath.randomized_svd": ([extmath.randomized_svd], linalg.randomized_svd),
}
OF_ALL = {"n_features_in_", "feature_names_in_"}
over_sections = pytest.mark.parametrize("title", REPLACED)


def rows_of(title):
    """Return the cells of the first two columns of a section, row by row."""
    section = re.split(rf"^{re.escape(title)}\n-+\n", PAGE.read_text(), flags=re.M)[1]
    section = re.split(r"^\S.*\n-+\n", section, flags=re.M)[0]
    rows = re.split(r"^   \* - ", section, flags=re.M)[2:]
    return [re.split(r"^     - ?", row, flags=re.M)[:2] for row in rows]


def names_in(cell):
    return set(re.findall(r"``(\w+)", cell))


def attributes_of(cls):
    names = re.findall(r"^    (\w+_(?:, \w+_)*) : ", cls.__doc__, flags=re.M)
    return {name for line in names for name in line.split(", ")} - OF_ALL


def what_is_there(replacement):
    names = set(inspect.signature(replacement).parameters) | set(dir(replacement))
    return names | attributes_of(replacement) if inspect.isclass(replacement) else names


@over_sections
def test_every_parameter_and_attribute_of_a_replaced_class_is_named(title):
    theirs, _ = REPLACED[title]
    named = set().union(*(names_in(there) for there, _ in rows_of(title)))
    for replaced in theirs:
        wanted = set(inspect.signature(replaced).parameters)
        if inspect.isclass(replaced):
            wanted |= attributes_of(replaced)
        assert not wanted - named


@over_sections
def test_what_is_said_to_be_the_same_is_there(title):
    here = what_is_there(REPLACED[title][1])
    same = [there for there, second in rows_of(title) if second.strip() == "the same"]
    assert same
    for cell in same:
        assert not names_in(cell) - here


@over_sections
def test_what_takes_the_place_of_something_is_there(title):
    here = what_is_there(REPLACED[title][1])
    for _, second in rows_of(title):
        assert not names_in(second) - here
