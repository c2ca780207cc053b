import numpy as np

from sklearn_rnla.linalg.completion.sampling import describe_sampling, obstacles
from sklearn_rnla.operators.observed import Observed


def places(mask):
    return Observed.from_dense(np.where(mask, 1.0, np.nan))


def test_blocks_that_share_nothing_are_components_in_order_of_size():
    mask = np.zeros((7, 6), dtype=bool)
    mask[:2, :2] = True
    mask[2:6, 2:5] = True
    sampling = describe_sampling(places(mask), np.ones((7, 1)), np.ones((6, 1)))
    assert sampling.n_components == 2
    np.testing.assert_array_equal(sampling.component_of_row, [1, 1, 0, 0, 0, 0, -1])
    np.testing.assert_array_equal(sampling.component_of_column, [1, 1, 0, 0, 0, -1])
    np.testing.assert_array_equal(sampling.entries_per_row, mask.sum(axis=1))
    np.testing.assert_array_equal(sampling.entries_per_column, mask.sum(axis=0))


def test_coherence_goes_from_one_to_the_size_over_the_rank():
    even, spike = np.ones((8, 1)), np.eye(8)[:, :2]
    sampling = describe_sampling(places(np.ones((8, 8), bool)), even, spike)
    np.testing.assert_allclose(sampling.coherence, [1, 4])


def test_oversampling_counts_degrees_of_freedom():
    U, V = np.random.default_rng(0).standard_normal((2, 10, 3))
    sampling = describe_sampling(places(np.ones((10, 10), bool)), U, V)
    assert sampling.oversampling == 100 / (3 * 17)


def test_obstacles_say_what_is_wrong_and_where():
    mask = np.zeros((9, 9), dtype=bool)
    mask[:4, :4] = mask[4:8, 4:8] = True
    U = np.random.default_rng(0).standard_normal((9, 5))
    sampling = describe_sampling(places(mask), U, U)
    few, apart, rows, columns = obstacles(sampling, 5)
    assert "0.492 entries for each degree of freedom of rank 5" in few
    assert "2 groups" in apart
    assert "rows 4, 5, 6, 7 " in apart
    assert rows.startswith("rows 0, 1, 2, 3, 4 and 4 more have fewer entries")
    assert columns.startswith("columns 0")


def test_a_full_matrix_has_no_obstacle():
    U = np.ones((6, 1))
    assert not obstacles(describe_sampling(places(np.ones((6, 6), bool)), U, U), 1)
