"""Moments of rows about a point, and the point."""

import numpy as np
import pytest
import scipy.sparse as sp

from sklearn_rnla.operators import Moments, as_row_matrix
from sklearn_rnla.operators.moments import point_near, shift_rows

RNG = np.random.default_rng(0)
X = RNG.standard_normal((60, 4)) + [0, 1, 100, -5]


def moments_of(rows, shift=None, *, products):
    B = rows if shift is None else rows - shift
    return Moments(
        float(len(B)), B.sum(axis=0), B.T @ B if products else np.sum(B**2), shift
    )


def squares_of(rows, products):
    return rows.T @ rows if products else np.sum(rows**2)


@pytest.mark.parametrize("products", [True, False])
@pytest.mark.parametrize("shift", [None, X[0], X.mean(axis=0)])
def test_moments_can_be_taken_about_any_point(products, shift):
    moments = moments_of(X, shift, products=products)
    point = np.arange(4.0)
    for found, rows in (
        (moments.about_mean(), X - X.mean(axis=0)),
        (moments.about(), X),
        (moments.about(point), X - point),
    ):
        np.testing.assert_allclose(found.squares, squares_of(rows, products), atol=1e-8)
        np.testing.assert_allclose(found.mean, X.mean(axis=0), atol=1e-12)
        assert found.total_weight == len(X)


@pytest.mark.parametrize("products", [True, False])
@pytest.mark.parametrize("shifts", [(None, None), (X[0], X[0].copy()), (X[0], X[9])])
def test_moments_of_parts_merge_to_those_of_all(products, shifts):
    merged = moments_of(X[:13], shifts[0], products=products)
    merged += moments_of(X[13:], shifts[1], products=products)
    centered = X - X.mean(axis=0)
    np.testing.assert_allclose(
        merged.about_mean().squares, squares_of(centered, products), atol=1e-8
    )
    np.testing.assert_allclose(merged.mean, X.mean(axis=0))
    assert merged.total_weight == len(X)


def test_parts_of_no_weight_change_nothing():
    nothing = Moments.at_mean(0.0, np.full(4, 1e300), 0.0)
    moments = moments_of(X, X[0], products=False)
    before = moments.about_mean().squares
    moments += nothing
    nothing += moments
    assert moments.about_mean().squares == nothing.about_mean().squares == before


def test_one_part_far_away_costs_the_others_no_digits():
    # About the first row, 1e8 away, the squares of the others would have none left.
    far = np.full((1, 4), 1e8)
    merged = moments_of(far, far[0], products=True)
    merged += moments_of(X, X.mean(axis=0), products=True)
    rest = merged.about_mean().squares
    step = far[0] - X.mean(axis=0)
    rest = rest - np.outer(step, step) * (len(X) / (len(X) + 1))
    assert np.abs(rest).max() < 1e-15 * 60 * 1e16


def test_moments_scale_with_the_rows():
    scaled = moments_of(X, X[0], products=True).scaled(0.5).about_mean()
    np.testing.assert_allclose(
        scaled.squares, moments_of(X / 2, products=True).about_mean().squares, atol=1e-9
    )
    np.testing.assert_allclose(scaled.mean, X.mean(axis=0) / 2)


@pytest.mark.parametrize("missing", [0, 5])
def test_sparse_rows_are_shifted_in_full_columns(missing):
    Z = X * (RNG.random(X.shape) < 0.5)
    Z[:, 1] = X[:, 2]
    Z[:missing, 1] = 0
    shift = np.array([0.0, 99.0, 0.0, 0.0])
    shifted = shift_rows(sp.csr_array(Z), shift)
    np.testing.assert_allclose(shifted.toarray(), Z - shift)
    assert shifted.nnz <= np.count_nonzero(Z) + missing


def test_sparse_rows_are_left_alone_where_no_column_is_far():
    Z = X * (RNG.random(X.shape) < 0.5)
    Z[:, 0] = RNG.standard_normal(60)
    assert point_near(as_row_matrix(sp.csr_array(Z))) is None
    Z[:, 2] = X[:, 2]
    point = point_near(as_row_matrix(sp.csr_array(Z)))
    assert np.flatnonzero(point).tolist() == [2]
    assert abs(point[2] - X[:, 2].mean()) < 1


@pytest.mark.parametrize("make", [np.asarray, sp.csr_array])
def test_the_point_is_near_whatever_the_order_of_the_rows(make):
    Z = np.concatenate([np.zeros((100, 4)), np.full((10_000, 4), 7.0)])
    Z[100:] += RNG.standard_normal((10_000, 4)) / 10
    assert np.abs(point_near(as_row_matrix(make(Z))) - 7).max() < 1
