"""Seeds and generators, of scikit-learn's convention and of numpy's."""

import inspect

import numpy as np
import pytest

import sklearn_rnla
from sklearn_rnla import RandomizedPCA, SketchProjection, linalg, neural
from sklearn_rnla.linalg import range_finder

A = np.random.default_rng(0).standard_normal((60, 20))
SEEDED = [
    function
    for module in (linalg, neural)
    for name in module.__all__
    if "random_state" in inspect.signature(function := getattr(module, name)).parameters
]


def test_an_rng_of_int_is_the_default_generator_of_numpy():
    seeded = range_finder(A, 4, rng=3).Q
    assert np.array_equal(seeded, range_finder(A, 4, rng=np.random.default_rng(3)).Q)
    drawn = range_finder(A, 4, random_state=np.random.default_rng(3)).Q
    assert np.array_equal(seeded, drawn)


def test_a_generator_moves_on():
    rng = np.random.default_rng(0)
    first, second = range_finder(A, 4, rng=rng).Q, range_finder(A, 4, rng=rng).Q
    assert not np.array_equal(first, second)


@pytest.mark.parametrize("function", SEEDED, ids=lambda function: function.__name__)
def test_all_functions_take_rng_or_random_state_but_not_both(function):
    assert inspect.signature(function).parameters["rng"].default is None
    with pytest.raises(TypeError, match="Only one of rng and random_state"):
        function(rng=0, random_state=0)
    with pytest.raises(TypeError, match="rng='0' must be"):
        function(rng="0")


@pytest.mark.parametrize("name", [n for n in sklearn_rnla.__all__ if n[0].isupper()])
def test_estimators_take_a_generator(name):
    estimator = getattr(sklearn_rnla, name)(random_state=np.random.default_rng(0))
    estimator._validate_params()


def test_estimators_draw_from_a_generator():
    rng = np.random.default_rng(0)
    S, T = (SketchProjection(3, random_state=rng).fit(A).components_ for _ in range(2))
    assert abs(S - T).max() > 0
    pca = RandomizedPCA(3, sketch="gaussian", random_state=rng).fit(A)
    assert pca.n_components_ == 3
