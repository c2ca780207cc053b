from itertools import pairwise

import numpy as np
import pytest
import scipy.sparse as sp

from sklearn_rnla.linalg.singular.incremental import summarize
from sklearn_rnla.operators import as_row_matrix
from tests.invariants import assert_close_to_scale, excess
from tests.matrices import gallery


def summary_of(X, k, n_kept, center=True, n_parts=7):
    cuts = np.linspace(0, X.shape[0], n_parts + 1).astype(int)
    summary = None
    for a, b in pairwise(cuts):
        summary = summarize(
            as_row_matrix(X[a:b]), k, n_kept, center=center, summary=summary
        )
    return summary


@pytest.mark.parametrize("make", [np.asarray, sp.csr_array])
@pytest.mark.parametrize("center", [True, False])
@pytest.mark.parametrize("n_parts", [1, 3, 90])
def test_keeping_every_direction_is_exact(make, center, n_parts):
    X = np.random.default_rng(0).standard_normal((900, 12)) + 3
    B = X - X.mean(axis=0) if center else X
    summary = summary_of(make(X), 12, 12, center, n_parts)
    assert_close_to_scale(summary.factor.T @ summary.factor, B.T @ B, np.float64, 1e4)
    assert_close_to_scale(summary.mean, X.mean(axis=0), np.float64)
    assert summary.squared_norm == pytest.approx(np.sum(B**2), rel=1e-12)
    assert summary.n_rows == 900


def test_moments_are_exact_and_the_bound_covers_the_truth(seed):
    k = 5
    for name, X in gallery(800, 60, seed=seed):
        summary = summary_of(X, k, 20)
        B = X - X.mean(axis=0)
        assert summary.squared_norm == pytest.approx(np.sum(B**2), rel=1e-10)
        _, result = summary.right_svd(lambda *_: k)
        truth = excess(X, result.components[:k], k, True)
        assert truth <= result.error_estimate + 1e-12, name


def test_an_update_changes_no_earlier_summary():
    X = np.random.default_rng(0).standard_normal((50, 6))
    first = summary_of(X, 2, 4, n_parts=1)
    before = first.factor.copy(), first.mean.copy(), first.dropped.copy()
    first.update(X + 1, center=True, n_kept=4)
    for old, new in zip(before, (first.factor, first.mean, first.dropped), strict=True):
        np.testing.assert_array_equal(old, new)
