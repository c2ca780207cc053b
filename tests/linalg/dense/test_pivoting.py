"""Pivots against LAPACK's and against every choice there is."""

from itertools import combinations

import numpy as np
import pytest
import scipy.linalg

from sklearn_rnla.linalg.dense.pivoting import (
    column_squared_norms,
    pivot_columns,
    swap_columns,
)
from tests.matrices import gallery, with_spectrum

EPS = np.finfo(float).eps


def residual_norm(B, J, T=None):
    """Return the norm of what columns J of B leave of T, or of B."""
    T = B if T is None else T
    C = B[:, list(J)] / (np.linalg.norm(B[:, list(J)], axis=0) if len(J) else 1.0)
    return np.linalg.norm(T - C @ np.linalg.lstsq(C, T, rcond=None)[0])


def generic(seed, l=12, n=9):
    return np.random.default_rng(seed).standard_normal((l, n))


@pytest.mark.parametrize("shape", [(40, 25), (25, 40), (30, 30), (1, 8), (8, 1)])
def test_pivots_are_those_of_lapack(shape, seed):
    B = generic(seed, *shape)
    k = min(shape)
    indices, errors = pivot_columns(B, k)
    np.testing.assert_array_equal(indices, scipy.linalg.qr(B, pivoting=True)[2][:k])
    expected = [residual_norm(B, indices[:j]) for j in range(k + 1)]
    # Norms are downdated: what is lost is relative to those at the start.
    np.testing.assert_allclose(errors, expected, atol=1e-7 * expected[0])


def test_pivots_leave_what_lapack_leaves(seed):
    # Where several columns are equally long any of them may be next. QR with column
    # pivoting is stable: what is left of both is within a few percent.
    for name, B in gallery(60, 40, seed=seed):
        indices, errors = pivot_columns(B, 15)
        theirs = scipy.linalg.qr(B, mode="r", pivoting=True)[1][:15]
        assert len(set(indices.tolist())) == 15
        assert residual_norm(B, indices) <= 1.05 * residual_norm(B, theirs), name
        assert errors[-1] == pytest.approx(residual_norm(B, indices), rel=1e-6)


def test_fewer_pivots_are_the_first_ones(seed):
    B = generic(seed, 30, 20)
    for target in (None, B @ B.T):
        all_of_them = pivot_columns(B, 20, target=target)
        some = pivot_columns(B, 7, target=target)
        np.testing.assert_array_equal(some.indices, all_of_them.indices[:7])
        np.testing.assert_array_equal(some.errors, all_of_them.errors[:8])


@pytest.mark.parametrize("shape", [(12, 9), (9, 12), (20, 6)])
@pytest.mark.parametrize("own", [True, False])
def test_each_greedy_pick_is_the_best_given_those_before(shape, own, seed):
    B = generic(seed, *shape)
    T = B if own else generic(seed + 10, shape[0], 3)
    indices = pivot_columns(B, min(shape) - 1, target=T @ T.T).indices
    for i, j in enumerate(indices):
        left = {
            other: residual_norm(B, [*indices[:i], other], T)
            for other in range(shape[1])
            if other not in indices[:i]
        }
        assert left[j] <= (1 + 1e-9) * min(left.values())


def test_the_first_greedy_pick_is_the_best_single_column(seed):
    # One column is along the leading singular vector, another is longer.
    B = with_spectrum(np.array([5.0, 1.0, 1.0, 1.0]), 15, 10, seed)
    best = min(range(10), key=lambda j: residual_norm(B, [j]))
    assert pivot_columns(B, 1, target=B @ B.T).indices.tolist() == [best]


def test_scale_decides_the_order_of_orthogonal_columns():
    B = np.diag([2.0, 7.0, 1.0, 5.0, 3.0])
    for target in (None, B @ B.T):
        indices, errors = pivot_columns(B, 5, target=target)
        assert indices.tolist() == [1, 3, 4, 0, 2]
        np.testing.assert_allclose(errors**2, [88, 39, 14, 5, 1, 0], atol=1e-12)


@pytest.mark.parametrize("scale", [1e-150, 1e-8, 1.0, 1e8, 1e150])
def test_a_common_factor_changes_no_choice(scale):
    B = generic(0, 20, 15)
    expected = pivot_columns(B, 10).indices
    indices, errors = pivot_columns(scale * B, 10)
    np.testing.assert_array_equal(indices, expected)
    assert np.isfinite(errors).all()
    if 1e-10 < scale < 1e10:
        expected = swap_columns(B, expected)
        np.testing.assert_array_equal(swap_columns(scale * B, indices), expected)


@pytest.mark.parametrize("targeted", [True, False])
def test_pivots_end_with_the_rank(targeted, seed):
    for rank in (1, 3, 7):
        B = with_spectrum(np.arange(1.0, rank + 1), 30, 20, seed)
        target = B @ B.T if targeted else None
        indices, errors = pivot_columns(B, 20, target=target)
        assert len(indices) == rank
        assert residual_norm(B, indices) <= 1e-12 * errors[0]
        assert errors[-1] <= 1e-7 * errors[0]


def test_a_column_and_its_copy_are_not_both_taken(seed):
    B = generic(seed)
    B = np.concatenate([B, 3 * B, np.zeros((12, 2))], axis=1)
    for target in (None, B @ B.T):
        indices = pivot_columns(B, 20, target=target).indices
        assert len(indices) == 9
        assert len({j % 9 for j in indices}) == 9
        assert indices.max() < 18


def test_zero_has_no_pivots():
    for target in (None, np.eye(4)):
        indices, errors = pivot_columns(np.zeros((4, 6)), 3, target=target)
        assert indices.tolist() == []
        assert errors.tolist() == [0.0]
    assert swap_columns(np.zeros((4, 6)), np.array([], dtype=int)).tolist() == []


def test_the_first_ones_may_be_given(seed):
    B = generic(seed)
    B[:, 4] = B[:, 2]
    for target in (None, B @ B.T):
        indices = pivot_columns(B, 6, target=target, first=[5, 2, 4, 5, 0]).indices
        assert indices[:3].tolist() == [5, 2, 0]
        assert 4 not in indices
        assert len(set(indices.tolist())) == 6
    # Those that follow are the best given them.
    rest = [j for j in range(9) if j not in (5, 2)]
    Q = np.linalg.qr(B[:, [5, 2]])[0]
    norms = column_squared_norms(B - Q @ (Q.T @ B))
    third = pivot_columns(B, 3, first=[5, 2]).indices[2]
    assert norms[third] >= (1 - 1e-9) * norms[rest].max()


@pytest.mark.parametrize("own", [True, False])
def test_an_exchange_never_raises_the_error_and_none_betters_the_last_set(own, seed):
    B = generic(seed, 8, 10)
    T = B if own else generic(seed + 10, 8, 2)
    target = None if own else T @ T.T
    total = np.linalg.norm(T) ** 2
    for start in list(combinations(range(10), 3))[::12]:
        before = np.array(start)
        after = swap_columns(B, before, target=target)
        assert before.tolist() == list(start)
        assert len(set(after.tolist())) == 3
        left = residual_norm(B, after, T) ** 2
        assert left <= residual_norm(B, before, T) ** 2 * (1 + 1e-9)
        for i in range(3):
            for j in set(range(10)) - set(after.tolist()):
                other = after.copy()
                other[i] = j
                # An exchange must gain a millionth of what the column holds.
                gained = left - residual_norm(B, other, T) ** 2
                assert gained <= 1.1e-6 * (total - left)


def test_exchanges_find_a_better_set_than_greedy_picks():
    # The first column is nearest to all others, and in no set of two that is best.
    B = np.array([[1.0, 1.0, 0.0], [1.0, 0.0, 1.0]])
    B = np.concatenate([B / np.array([[1.3, 1.0, 1.0]]), 0.1 * np.eye(1, 3)])
    greedy = pivot_columns(B, 2, target=B @ B.T).indices
    swapped = swap_columns(B, greedy)
    least = min(residual_norm(B, J) for J in combinations(range(3), 2))
    assert residual_norm(B, swapped) == pytest.approx(least)
    assert residual_norm(B, greedy) > 1.01 * least


def test_all_columns_leave_nothing_to_exchange(seed):
    B = generic(seed)
    np.testing.assert_array_equal(swap_columns(B, np.arange(9)), np.arange(9))


def test_exchanges_avoid_dependent_columns(seed):
    B = generic(seed)
    B = np.concatenate([B, B[:, :4], np.zeros((12, 1))], axis=1)
    swapped = swap_columns(B, np.arange(9)[::-1][:6])
    assert np.linalg.matrix_rank(B[:, swapped]) == 6


ILL_CONDITIONED = {
    "Vandermonde": np.vander(np.linspace(0, 1, 300), 60),
    "Hilbert": scipy.linalg.hilbert(40),
    "smooth kernel": np.exp(-(np.subtract.outer(*[np.linspace(0, 1, 80)] * 2) ** 2)),
}


@pytest.mark.parametrize("B", ILL_CONDITIONED.values(), ids=ILL_CONDITIONED)
@pytest.mark.parametrize("unit", [1.0, 1e-9])
def test_exchanges_of_ill_conditioned_columns_keep_them_independent(B, unit):
    B = B * np.where(np.arange(B.shape[1]) % 2, unit, 1.0)
    for target in (None, B @ B.T):
        indices, errors = pivot_columns(B, B.shape[1], target=target)
        assert 5 < len(indices) < B.shape[1]
        for k in (len(indices) // 2, len(indices)):
            swapped = swap_columns(B, indices[:k])
            assert len(set(swapped.tolist())) == k
            C = B[:, swapped] / np.linalg.norm(B[:, swapped], axis=0)
            assert np.linalg.cond(C) < 1 / EPS
            # In squares, errors below the root of eps are lost.
            assert residual_norm(B, swapped) <= errors[k] + 1e-6 * errors[0]
