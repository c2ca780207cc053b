"""Blocks stacked to one."""

import numpy as np
import pytest
import scipy.sparse as sp

from sklearn_rnla.operators.stacking import stack_rows

X = np.arange(12.0).reshape(6, 2) % 5


@pytest.mark.parametrize("make", [np.asarray, sp.csr_array, sp.csr_matrix])
def test_parts_become_the_whole(make):
    stacked = stack_rows([make(X[:1]), make(X[1:4]), make(X[4:4]), make(X[4:])])
    assert isinstance(stacked, np.ndarray if make is np.asarray else sp.csr_array)
    np.testing.assert_array_equal(stacked if make is np.asarray else stacked.toarray(), X)


def test_one_part_is_not_copied():
    assert stack_rows([X]) is X


def test_indices_are_no_wider_than_they_need_be():
    parts = [sp.csr_array(X), sp.csr_array(X)]
    for part in parts:
        part.indptr, part.indices = part.indptr.astype(np.int64), part.indices.astype("i8")
    stacked = stack_rows(parts)
    assert stacked.indptr.dtype == stacked.indices.dtype == np.int32


def test_more_columns_than_32_bits_count_keep_wide_indices():
    far = np.array([2**33], dtype=np.int64)
    part = sp.csr_array((np.ones(1), (np.zeros(1, np.int64), far)), shape=(1, 2**34))
    stacked = stack_rows([part, part])
    assert stacked.indices.tolist() == [2**33] * 2


def test_a_stack_is_canonical_where_its_parts_are():
    messy = sp.csr_array((np.ones(2), [0, 0], [0, 2]), shape=(1, 2))
    assert stack_rows([sp.csr_array(X), sp.csr_array(X)]).has_canonical_format
    assert not stack_rows([sp.csr_array(X), messy]).has_canonical_format
