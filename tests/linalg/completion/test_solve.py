"""Completion by any solver: units, constant entries, and small tables."""

import numpy as np
import pytest

from sklearn_rnla.linalg.completion.solve import SOLVERS, CompletionOptions, complete
from sklearn_rnla.operators.observed import Observed

EACH_SOLVER = pytest.mark.parametrize("solver", ["em", *SOLVERS])
RNG = np.random.default_rng(0)
TRUTH = 3 + RNG.standard_normal((40, 2)) @ RNG.standard_normal((2, 20))
MISSING = RNG.random(TRUTH.shape) < 0.3
X = np.where(MISSING, np.nan, TRUTH)
UNITS = [
    *((np.float64, unit) for unit in (1e-310, 1e-200, 1e100, 1e200, 1e300)),
    *((np.float32, unit) for unit in (1e-30, 1e8, 1e30, 1e37)),
]


def completed(X, solver, **options):
    rank = "auto" if solver == "softimpute" else 3
    options = CompletionOptions(**{"rank": rank, "solver": solver, **options})
    rng, observed = np.random.default_rng(0), Observed.from_dense(X, n_jobs=1)
    return complete(observed, options, table=X, rng=rng)


@EACH_SOLVER
@pytest.mark.parametrize(("dtype", "unit"), UNITS)
def test_what_is_found_has_the_unit_of_the_entries(solver, dtype, unit):
    expected = completed(X.astype(dtype), solver)
    data = X * unit
    found = completed(data.astype(dtype), solver)
    # Rounding, which multiplication by a unit changes, ends iterations elsewhere.
    tol = 3e-2 if dtype == np.float32 else 1e-9
    rows, columns = MISSING.nonzero()
    entries = [each.predict(rows, columns)[0] for each in (found, expected)]
    np.testing.assert_allclose(entries[0] / unit, entries[1], atol=tol)
    filled = [each.fill(A) for each, A in ((found, data.astype(dtype)), (expected, X))]
    np.testing.assert_allclose(filled[0].astype(float) / unit, filled[1], atol=tol)
    for name in ("missing", "held_out"):
        values = [getattr(each.bounds, name) for each in (found, expected)]
        np.testing.assert_allclose(*values, atol=tol)
    last = found.history[-1], expected.history[-1]
    np.testing.assert_allclose(*last, rtol=tol, atol=tol)
    of_columns = found.bounds.columns / unit, expected.bounds.columns
    np.testing.assert_allclose(*of_columns, atol=tol)
    assert found.score(Observed.from_dense(data), 0.2) > 0.999
    for each in found.model.svd(2):
        assert np.isfinite(each).all()
    if solver == "gibbs":
        _, std = found.predict(rows, columns, return_std=True)
        _, other = expected.predict(rows, columns, return_std=True)
        np.testing.assert_allclose(std / unit, other, atol=tol)


@EACH_SOLVER
@pytest.mark.parametrize(("dtype", "unit"), [(np.float64, 5e-324), (np.float32, 1e-44)])
def test_the_smallest_numbers_are_completed_by_some(solver, dtype, unit):
    data = (X.round() * unit).astype(dtype)
    found = completed(data, solver)
    assert np.isfinite(found.fill(data)).all()
    assert np.isfinite(found.predict_rows(Observed.from_dense(data))).all()


def of_entries(X, solver, **options):
    options = CompletionOptions(**{"rank": 3, "solver": solver, **options})
    observed = Observed.from_dense(X, n_jobs=1)
    return complete(observed, options, rng=np.random.default_rng(0))


@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize("unit", [2.0**-600, 2.0**600])
def test_what_entries_of_one_unit_have_in_common_has_that_unit(solver, unit):
    penalty = {"als": 0.5, "softimpute": 0.05}.get(solver)
    scale = unit if solver == "als" else 1
    expected = of_entries(X, solver, alpha=penalty)
    found = of_entries(X * unit, solver, alpha=penalty and penalty * scale)
    assert found.alpha == (expected.alpha and expected.alpha * scale)
    np.testing.assert_allclose(found.fill(X * unit) / unit, expected.fill(X))
    for name in ("missing", "held_out", "columns"):
        values = [getattr(each.bounds, name) for each in (found, expected)]
        np.testing.assert_allclose(values[0] / unit, values[1], atol=1e-12)
    scale = unit if solver in ("als", "gibbs") else 1
    np.testing.assert_allclose(found.history / scale, expected.history, atol=1e-12)


def test_a_penalty_of_standardised_entries_has_no_unit():
    expected = completed(X, "als", alpha=0.5)
    found = completed(X * 2.0**400, "als", alpha=0.5)
    assert found.alpha == expected.alpha
    np.testing.assert_allclose(found.fill(X * 2.0**400) / 2.0**400, expected.fill(X))


@pytest.mark.parametrize("solver", ["em", "gibbs", "als"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("level", [0.0, 7.3, 1e8, -1e15])
def test_equal_entries_are_completed_by_the_same(solver, level, dtype):
    for noise in (0, 1):
        data = (level + noise * X) if level else 0 * X
        found = completed(data.astype(dtype), solver)
        spread = np.nanstd(data)
        rounding = 2 * abs(level) * np.finfo(dtype).eps
        # Where all is zero, a sampler has a unit of its own.
        atol = 6 * spread + rounding + (1e-3 if solver == "gibbs" and not level else 0)
        middle = level + 3 * noise * bool(level)
        np.testing.assert_allclose(found.fill(data.astype(dtype)), middle, atol=atol)
