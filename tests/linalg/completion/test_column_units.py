"""Units of columns: told by the entries, and given back."""

import numpy as np
import pytest

from sklearn_rnla.linalg.completion.biases import without_biases
from sklearn_rnla.linalg.completion.column_units import ColumnMoments, ColumnUnits
from sklearn_rnla.linalg.completion.model import fold_in, model_of_columns
from sklearn_rnla.operators.observed import Observed


def _table(n=60, p=7, seed=0, share=0.3):
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n, 2)) @ rng.standard_normal((2, p))
    X += 0.3 * rng.standard_normal((n, p)) + rng.standard_normal((n, 1))
    return np.where(rng.random((n, p)) < share, np.nan, X)


@pytest.mark.parametrize("shift", [True, False])
def test_columns_of_very_different_units_get_their_own(shift):
    X = _table(400) * 10.0 ** np.arange(-9, 12, 3)
    X[:, 3] += 1.7e9 * shift
    units = ColumnUnits.of(ColumnMoments.of(X), shift=shift)
    np.testing.assert_allclose(units.scale, np.nanstd(X, axis=0), rtol=0.1)
    expected = np.nanmean(X, axis=0) if shift else 0
    np.testing.assert_allclose(units.location, expected, rtol=0.1)


def test_few_entries_of_one_unit_keep_it():
    X = 4 + np.random.default_rng(0).standard_normal((5, 400))
    X[1:, 7] = np.nan
    X[:, 8] = 4
    units = ColumnUnits.of(ColumnMoments.of(X), shift=True)
    # Sampling alone spreads variances of five numbers by a factor of five and more.
    assert units.scale.max() < 2 * units.scale.min()
    # A single entry says as little about its column's mean.
    assert abs(units.location[7] - 4) < 0.5 * abs(X[0, 7] - 4)


@pytest.mark.parametrize("power", [0.0, 1.0])
@pytest.mark.parametrize("center", [True, False])
def test_a_model_in_units_folds_in_and_predicts_as_the_standardised_one(power, center):
    X = _table() * 10.0 ** np.arange(-3, 4) + 5
    observed = Observed.from_dense(X)
    units = ColumnUnits.of(ColumnMoments.of(X), shift=center)
    inner = units.standardised(observed)
    biases, _ = without_biases(inner, center)
    V = np.random.default_rng(1).standard_normal((7, 2))
    model = model_of_columns(inner, biases, V, np.full(2, 0.1), power)
    restored = model._replace(units=units.around(model.units))
    expected = units.location + units.scale * model.entries_of(model.rows)
    np.testing.assert_allclose(restored.entries_of(restored.rows), expected, rtol=1e-9)
    rows, _ = fold_in(restored, observed)
    np.testing.assert_allclose(restored.entries_of(rows), expected, rtol=1e-9)
    U, V = restored.factors()
    biases = restored.offset + restored.row_biases[:, None] + restored.column_biases
    np.testing.assert_allclose(biases + U @ V.T, expected, rtol=1e-9)
    again = restored.relative_to(units)
    np.testing.assert_allclose(again.entries_of(again.rows), model.entries_of(model.rows))


def test_the_spread_of_a_constant_column_is_that_of_the_others():
    X = np.random.default_rng(0).standard_normal((50, 3)) * [1, 100, 0] + [0, 5, 7]
    moments = ColumnMoments.of(X)
    np.testing.assert_allclose(moments.spread[:2], X.std(axis=0)[:2])
    assert moments.spread[2] == 0
    usual = np.sqrt(moments.spread[0] * moments.spread[1])
    np.testing.assert_allclose(moments.usual_spread[2], usual)


def test_numbers_that_cannot_be_added_are_refused():
    X = np.full((50, 4), np.finfo(np.float64).max)
    with pytest.raises(ValueError, match=r"X are as large as 1.8e\+308, and sums"):
        ColumnMoments.of(X)
    with pytest.raises(ValueError, match="scale them down"):
        ColumnUnits.common(X).take(np.arange(4), X[0])


def test_moments_of_numbers_that_cannot_be_squared():
    X = np.random.default_rng(0).standard_normal((50, 4)) + 3
    units = np.array([1e-300, 1e-200, 1.0, 1e306])
    moments = ColumnMoments.of(X * units)
    np.testing.assert_allclose(moments.mean / units, X.mean(axis=0))
    np.testing.assert_allclose(moments.spread / units, X.std(axis=0))
    for shift in (True, False):
        location, scale = ColumnUnits.of(moments, shift=shift)
        expected = X.std(axis=0) if shift else np.sqrt(np.square(X).mean(axis=0))
        np.testing.assert_allclose(scale / units, expected, rtol=0.1)
        np.testing.assert_allclose(location / units, shift * X.mean(axis=0), rtol=0.1)
