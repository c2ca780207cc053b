"""Results in any unit: of data times a power of two, the same or so much larger."""

import dask.array as da
import numpy as np
import pytest
import scipy.sparse as sp

from sklearn_rnla import CURSelector, SketchedRidge
from sklearn_rnla.linalg import column_subset, cur, interpolative, leverage_scores, lstsq
from sklearn_rnla.operators import as_row_matrix
from sklearn_rnla.operators.scaling import in_unit
from tests.matrices import with_spectrum
from tests.sources import on_disk

# About 1e-17, 1e-170 and 1e160; in float32 1e-17, 1e-27 and 1e27.
EXPONENTS = [(np.float64, e) for e in (-56, -565, 531)]
EXPONENTS += [(np.float32, e) for e in (-56, -90, 90)]
UNITS = pytest.mark.parametrize(
    ("dtype", "unit"), [(dtype, 2.0**e) for dtype, e in EXPONENTS]
)
MAKE = pytest.mark.parametrize("make", [np.asarray, sp.csr_array])
A = with_spectrum(0.8 ** np.arange(30), 400, 30)
A[:20] *= np.arange(30) % 2 == 0
# Rows without entries say nothing of the unit.
A = np.concatenate([np.zeros((20, 30)), A])
y = A @ np.linspace(-1, 1, 30) + 0.01 * np.random.default_rng(0).standard_normal(420)


def dense(X):
    return X.toarray() if sp.issparse(X) else np.asarray(X)


@UNITS
@MAKE
@pytest.mark.parametrize("method", ["cpqr", "qdeim", "greedy", "leverage"])
@pytest.mark.parametrize("refine", [None, "swap"])
def test_columns_are_the_same_in_any_unit(method, refine, make, dtype, unit):
    params = {"method": method, "refine": refine, "random_state": 0}
    X = A.astype(dtype)
    expected = column_subset(make(X), 6, **params)
    result = column_subset(make(X * dtype(unit)), 6, **params)
    np.testing.assert_array_equal(result.indices, expected.indices)
    assert result.error_estimate == pytest.approx(expected.error_estimate)


@UNITS
@MAKE
def test_decompositions_are_in_the_unit_of_the_data(make, dtype, unit):
    X = A.astype(dtype)
    expected = cur(make(X), 6, 8, random_state=0)
    result = cur(make(X * dtype(unit)), 6, 8, random_state=0)
    np.testing.assert_array_equal(result.row_indices, expected.row_indices)
    np.testing.assert_allclose(dense(result.C), dense(expected.C) * dtype(unit))
    np.testing.assert_allclose(dense(result.R), dense(expected.R) * dtype(unit))
    np.testing.assert_allclose(result.U * dtype(unit), expected.U, rtol=1e-4)
    assert result.error_estimate == pytest.approx(expected.error_estimate)


@UNITS
@MAKE
@pytest.mark.parametrize("of", ["columns", "rows", "both"])
def test_interpolations_have_no_unit(of, make, dtype, unit):
    X = A.astype(dtype)
    expected = interpolative(make(X), 6, of=of, random_state=0)
    result = interpolative(make(X * dtype(unit)), 6, of=of, random_state=0)
    for one, other in zip(result, expected, strict=True):
        if one is not None:
            np.testing.assert_allclose(dense(one), dense(other), rtol=1e-4, atol=1e-5)


@UNITS
@MAKE
@pytest.mark.parametrize("of", ["columns", "rows"])
@pytest.mark.parametrize("k", [None, 4])
def test_leverage_scores_have_no_unit(k, of, make, dtype, unit):
    X = A.astype(dtype)
    expected = leverage_scores(make(X), k, of=of, random_state=0)
    result = leverage_scores(make(X * dtype(unit)), k, of=of, random_state=0)
    np.testing.assert_allclose(result, expected, atol=1e-4)


@UNITS
@MAKE
@pytest.mark.parametrize("method", ["cpqr", "supervised"])
def test_a_selector_has_attributes_in_the_unit_of_the_data(method, make, dtype, unit):
    X = A.astype(dtype)
    selector = CURSelector(6, n_rows=6, method=method, random_state=0)
    C, U, R, weights = (
        dense(part)
        for fitted in [selector.fit(make(X), y)]
        for part in (fitted.C_, fitted.U_, fitted.R_, fitted.row_weights_)
    )
    selector.fit(make(X * dtype(unit)), y)
    np.testing.assert_allclose(dense(selector.C_), C * dtype(unit))
    np.testing.assert_allclose(dense(selector.R_), R * dtype(unit))
    np.testing.assert_allclose(selector.U_ * dtype(unit), U, rtol=1e-3)
    np.testing.assert_allclose(selector.row_weights_, weights, rtol=1e-3)


@pytest.mark.parametrize("unit", [1e-300, 1e300])
def test_lazy_arrays_are_in_any_unit(unit):
    X = da.from_array(A * unit, chunks=(len(A) // 3, A.shape[1]))
    expected = CURSelector(6, random_state=0).fit(A).column_indices_
    assert set(CURSelector(6, random_state=0).fit(X).column_indices_) == set(expected)
    for k in (None, 4):
        scores = np.asarray(leverage_scores(X, k, random_state=0))
        np.testing.assert_allclose(scores.sum(), k or A.shape[1], rtol=1e-6)


def test_files_in_a_tiny_unit_are_read_as_others(tmp_path):
    expected = column_subset(A, 6, random_state=0)
    for X in (on_disk(A * 2.0**-565, tmp_path), da.from_array(A, chunks=(100, 30))):
        result = column_subset(X, 6, random_state=0)
        np.testing.assert_array_equal(result.indices, expected.indices)


@UNITS
@MAKE
@pytest.mark.parametrize("solver", ["auto", "direct", "iterative", "svd"])
@pytest.mark.parametrize("alpha", [0.0, 0.1])
def test_coefficients_are_in_the_units_of_the_data(alpha, solver, make, dtype, unit):
    X = A.astype(dtype)
    weight = np.linspace(0, 1, len(A))
    params = {"solver": solver, "random_state": 0}
    expected = SketchedRidge(alpha, **params).fit(make(X), y, weight)
    # Beyond the range of float64, a penalty is none.
    scaled = alpha * unit * unit if unit < 1e150 else 0.0
    if alpha and not 0 < scaled < np.inf:
        return
    other = SketchedRidge(scaled, **params).fit(make(X * dtype(unit)), y, weight)
    coef = other.coef_.astype(float) * unit
    scale = np.abs(expected.coef_).max()
    np.testing.assert_allclose(coef, expected.coef_, atol=1e-6 * scale)
    assert other.intercept_ == pytest.approx(expected.intercept_, abs=1e-6)
    assert other.condition_ == pytest.approx(expected.condition_, rel=1e-3)


@pytest.mark.parametrize("unit", [2.0**-565, 2.0**531])
def test_targets_may_have_units_of_their_own(unit):
    expected = lstsq(A, np.column_stack([y, y]), alpha=0.1)
    result = lstsq(A, np.column_stack([y, y * unit]), alpha=0.1)
    np.testing.assert_allclose(result.x / [1, unit], expected.x, rtol=1e-12)
    assert result.error_estimate == pytest.approx(expected.error_estimate, rel=0.1)


def test_a_penalty_far_above_the_data_leaves_what_is_right():
    result = lstsq(A * 2.0**-565, y, alpha=1.0)
    np.testing.assert_allclose(result.x / 2.0**-565, A.T @ y, rtol=1e-10)


def test_rows_of_zeros_before_others_are_not_read_into_memory(tmp_path, monkeypatch):
    X = on_disk(np.concatenate([np.zeros((50, 30)), A]), tmp_path)
    rows = as_row_matrix(X)
    monkeypatch.setattr(rows, "in_memory", None)
    assert in_unit(rows) == (rows, 1.0)
