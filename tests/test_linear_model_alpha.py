"""The penalty that SketchedRidge chooses of several."""

import numpy as np
import pytest
import scipy.sparse as sp
from sklearn.linear_model import RidgeCV

from sklearn_rnla import SketchedRidge
from tests.sources import Lazy

ALPHAS = np.logspace(-4, 4, 17)
SOURCES = pytest.mark.parametrize("source", [np.asarray, sp.csr_array, Lazy])


@pytest.mark.parametrize("shape", [(40, 120), (300, 90), (3000, 40)])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("fit_intercept", [False, True])
@pytest.mark.parametrize("solver", ["auto", "direct", "svd"])
@SOURCES
def test_the_choice_is_that_of_ridge_cv(shape, weighted, fit_intercept, solver, source):
    rng = np.random.default_rng(0)
    X = rng.standard_normal(shape) * np.logspace(0, -4, shape[1]) + 3
    Y = X @ rng.standard_normal((shape[1], 2)) * [1, 100] + 20 * rng.standard_normal(2)
    Y += 20 * rng.standard_normal(Y.shape)
    weight = rng.random(len(X)) if weighted else None
    params = {"alphas": ALPHAS, "fit_intercept": fit_intercept}
    exact = RidgeCV(**params).fit(X, Y, weight)
    ours = SketchedRidge(solver=solver, random_state=0, **params)
    ours.fit(source(X), Y, weight)
    assert ours.alpha_ == exact.alpha_
    assert isinstance(ours.alpha_, float)
    assert solver in ("auto", ours.solver_)
    scale = np.abs(exact.coef_).max()
    np.testing.assert_allclose(ours.coef_, exact.coef_, atol=1e-7 * scale)


@pytest.mark.parametrize("unit", [1e-150, 1e150])
def test_penalties_are_chosen_in_any_unit(unit):
    rng = np.random.default_rng(0)
    X = rng.standard_normal((200, 20))
    y = X[:, 0] + 3 * rng.standard_normal(200)
    one = SketchedRidge(alphas=ALPHAS).fit(X, y)
    scaled = SketchedRidge(alphas=ALPHAS).fit(X, y * unit)
    assert ALPHAS[0] < one.alpha_ == scaled.alpha_ < ALPHAS[-1]
    np.testing.assert_allclose(scaled.coef_ / unit, one.coef_, rtol=1e-9)


def test_alpha_is_one_number_or_one_for_each_target():
    X = np.random.default_rng(0).standard_normal((50, 3))
    Y = X[:, :2]
    assert SketchedRidge(2).fit(X, Y).alpha_ == 2.0
    np.testing.assert_array_equal(SketchedRidge([2, 3]).fit(X, Y).alpha_, [2, 3])
    only = SketchedRidge(alphas=[0.5]).fit(X, Y)
    np.testing.assert_array_equal(only.coef_, SketchedRidge(0.5).fit(X, Y).coef_)
    with pytest.raises(ValueError, match=r"alpha=\[1, 2, 3\].*n_targets=2.*pass alphas"):
        SketchedRidge([1, 2, 3]).fit(X, Y)
    with pytest.raises(ValueError, match="solver='iterative' solves for one alpha"):
        SketchedRidge(alphas=[1, 2], solver="iterative").fit(X, Y)
    with pytest.raises(ValueError, match=r"alphas=.* must be numbers in one dimension"):
        SketchedRidge(alphas=[[1, 2]]).fit(X, Y)
