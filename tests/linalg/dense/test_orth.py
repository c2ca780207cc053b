import numpy as np
import pytest

from sklearn_rnla.linalg import orth
from sklearn_rnla.linalg.dense.orth import (
    complete_rows,
    extend_rows,
    orthonormal_rows,
    product64,
)
from tests.invariants import assert_close_to_scale, assert_orthonormal_rows

DTYPES = pytest.mark.parametrize("dtype", [np.float32, np.float64])


@DTYPES
@pytest.mark.parametrize("condition", [1, 1e3, 1e6, 1e12])
def test_rows_become_orthonormal_whatever_the_condition(dtype, condition, seed):
    rng = np.random.default_rng(seed)
    mix = np.linalg.qr(rng.standard_normal((20, 20)))[0]
    V = np.linalg.qr(rng.standard_normal((300, 20)))[0].T
    V = ((mix * np.geomspace(1, 1 / condition, 20)) @ V).astype(dtype)
    Q = orthonormal_rows(V)
    assert_orthonormal_rows(Q)
    # The span is kept, to what rounding of V leaves of it.
    rest = V - (V @ Q.T) @ Q
    assert np.linalg.norm(rest) <= 1e3 * np.finfo(dtype).eps * np.linalg.norm(V)


@DTYPES
def test_dependent_and_zero_rows_are_left_out(dtype, seed):
    V = np.random.default_rng(seed).standard_normal((4, 50)).astype(dtype)
    V = np.concatenate([V, 3 * V[:2], np.zeros((2, 50), dtype)])
    Q = orthonormal_rows(V)
    assert Q.shape == (4, 50)
    assert_orthonormal_rows(Q)
    assert orthonormal_rows(np.zeros((3, 5), dtype)).shape == (0, 5)


@DTYPES
@pytest.mark.parametrize("new", [1.0, 1e-3, 1e-6])
def test_an_extension_is_orthogonal_to_the_basis(dtype, new, seed):
    rng = np.random.default_rng(seed)
    V = orthonormal_rows(rng.standard_normal((10, 100)).astype(dtype))
    mostly_old = rng.standard_normal((6, 10)) @ V
    W = (mostly_old + new * rng.standard_normal((6, 100))).astype(dtype)
    fresh = extend_rows(V, W)
    assert_orthonormal_rows(np.concatenate([V, fresh]))
    if new > 1e2 * np.finfo(dtype).eps:
        assert len(fresh) == 6


@DTYPES
def test_an_extension_never_exceeds_the_space(dtype, seed):
    rng = np.random.default_rng(seed)
    V = orthonormal_rows(rng.standard_normal((16, 30)).astype(dtype))
    fresh = extend_rows(V, rng.standard_normal((16, 30)).astype(dtype))
    assert len(fresh) == 14
    assert_orthonormal_rows(np.concatenate([V, fresh]))
    assert len(extend_rows(V, V[:3])) == 0


def test_a_completed_basis_depends_on_its_span_alone():
    rng = np.random.default_rng(0)
    V = orthonormal_rows(rng.standard_normal((3, 20)))
    rotated = np.linalg.qr(rng.standard_normal((3, 3)))[0] @ V
    one, other = (complete_rows(U, 7, np.random.default_rng(5))[3:] for U in (V, rotated))
    assert_close_to_scale(one, other, np.float64)


def test_orth_spans_the_columns(seed):
    A = np.random.default_rng(seed).standard_normal((30, 5)) @ np.ones((5, 8))
    Q = orth(A)
    assert Q.shape == (30, 1)
    assert_close_to_scale(Q @ (Q.T @ A), A, np.float64)


def test_orth_refuses_wide_matrices():
    with pytest.raises(ValueError, match=r"\(2, 3\) must have no more columns"):
        orth(np.ones((2, 3)))


def test_single_precision_products_are_summed_in_double():
    V = np.random.default_rng(0).standard_normal((3, 50_000)).astype(np.float32)
    exact = V.astype(float) @ V.T.astype(float)
    np.testing.assert_allclose(product64(V, V.copy()), exact, rtol=1e-13, atol=1e-9)


@pytest.mark.parametrize("scale", [1e-300, 1e-170, 1e-140, 1e150, 1e160, 1e300])
def test_columns_of_any_unit_and_of_several(scale):
    A = np.random.default_rng(0).standard_normal((50, 5))
    Q = orth(A)
    np.testing.assert_allclose(np.abs(Q.T @ orth(A * scale)), np.eye(5), atol=1e-10)
    A = A * np.array([1, scale, 1, 0, scale])
    found = orth(A)
    np.testing.assert_allclose(found.T @ found, np.eye(4), atol=1e-12)
