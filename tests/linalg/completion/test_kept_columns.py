"""Facts about columns that are left out and put back."""

import numpy as np
import scipy.sparse as sp

from sklearn_rnla.linalg.completion.kept_columns import KeptColumns

X = np.array([[1.0, np.nan, np.nan, 4.0], [np.nan, np.nan, np.nan, 8.0]])
KEPT = KeptColumns.with_entries(X)


def test_columns_with_an_entry_are_kept():
    np.testing.assert_array_equal(KEPT.numbers, [0, 3])
    np.testing.assert_array_equal(KEPT.take(X), X[:, [0, 3]])
    sparse = sp.csr_array(np.nan_to_num(X))
    np.testing.assert_array_equal(KEPT.take(sparse).toarray(), [[1, 4], [0, 8]])


def test_what_is_taken_can_be_put_back():
    filled = np.array([[1.0, 4.0], [2.0, 8.0]])
    np.testing.assert_array_equal(KEPT.put_back(filled, X), [[1, 0, 0, 4], [2, 0, 0, 8]])
    new = np.array([[1.0, 5.0, np.nan, 4.0]])
    np.testing.assert_array_equal(KEPT.put_back(filled[:1], new), [[1, 5, 0, 4]])


def test_all_columns_are_taken_and_put_back_as_they_are():
    everything = KeptColumns.all_of(X)
    assert everything.take(X) is X
    assert everything.put_back(X, np.zeros_like(X)) is X


def test_places_lead_back_to_the_columns():
    places, kept = KEPT.places(np.arange(4))
    np.testing.assert_array_equal(kept, [True, False, False, True])
    np.testing.assert_array_equal(KEPT.original(places[kept]), [0, 3])
    # Other places are valid indices, too.
    assert places.min() >= 0
    assert places.max() < 2
    np.testing.assert_array_equal(KEPT.original(np.array([-1, 1])), [-1, 3])
