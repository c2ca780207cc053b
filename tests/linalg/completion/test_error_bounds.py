"""Bounds on errors that were not seen, from errors that were."""

import numpy as np
import pytest
from scipy.stats import binom

from sklearn_rnla.linalg.completion.error_bounds import (
    HeldOutErrors,
    RowErrors,
    column_bounds,
    upper_bound,
)

DRAWS = {
    "normal": lambda rng, n: rng.standard_normal(n),
    "laplace": lambda rng, n: rng.laplace(size=n),
    "one in fifty is tenfold": lambda rng, n: (
        rng.standard_normal(n) * np.where(rng.random(n) < 0.02, 10, 1)
    ),
}


def _errors(values, per_row=4, n_columns=5):
    rows = np.arange(len(values)) // per_row
    return HeldOutErrors(rows, np.arange(len(values)) % n_columns, values)


def _rms(values):
    return np.sqrt(np.mean(np.square(values)))


@pytest.mark.parametrize("kind", DRAWS)
@pytest.mark.parametrize("n_wanted", [200, 2000])
def test_bounds_cover_in_95_percent_of_cases(kind, n_wanted):
    rng, covered, n_cases = np.random.default_rng(0), 0, 300
    for _ in range(n_cases):
        errors = _errors(DRAWS[kind](rng, 1200))
        others = DRAWS[kind](rng, n_wanted)
        covered += _rms(others) <= upper_bound(errors, (n_wanted, n_wanted // 4))
    # Fewer with probability 1e-4, were it 0.95 exactly; more is allowed.
    assert covered >= binom(n_cases, 0.95).ppf(1e-4)


def test_bounds_of_columns_are_in_proportion_to_their_errors():
    rng = np.random.default_rng(0)
    errors = _errors(rng.standard_normal(5000) * np.tile([1, 1, 1, 1, 3], 1000))
    bounds = column_bounds(errors, 6, np.zeros(6, int))
    np.testing.assert_allclose(bounds[:4], 1, atol=0.25)
    assert 3 <= bounds[4] <= 3.75
    # Of a column without errors it is that of all, and wide.
    assert bounds[5] > _rms(errors.values)


def test_rare_errors_are_told_by_those_that_go_with_them():
    rng = np.random.default_rng(0)
    likely = DRAWS["one in fifty is tenfold"](rng, 5000)
    errors = 2 * likely[:100][np.abs(likely[:100]) < 4]
    of_hidden = HeldOutErrors(*_errors(errors)[:2], errors / 2)
    told = RowErrors.of(_errors(likely)), RowErrors.of(of_hidden)
    bound = upper_bound(_errors(errors), likely=told)
    assert 1 <= bound / _rms(2 * likely) <= 1.5
    assert upper_bound(_errors(errors)) < _rms(2 * likely)


def test_no_errors_have_no_bound_and_zeros_a_bound_of_zero():
    nothing = HeldOutErrors.nothing()
    assert np.isnan(upper_bound(nothing))
    assert np.isnan(nothing.rms)
    assert np.isnan(column_bounds(nothing, 3, np.zeros(3, int))).all()
    zeros = _errors(np.zeros(20))
    assert upper_bound(zeros) == 0
    assert not column_bounds(zeros, 5, np.zeros(5, int)).any()


def test_bounds_are_in_the_unit_of_the_errors():
    values = np.random.default_rng(0).standard_normal(200)
    one = upper_bound(_errors(values))
    for unit in (1e-200, 1e200):
        assert upper_bound(_errors(unit * values)) == pytest.approx(unit * one)
