"""How many landmarks are within the budget."""

import numpy as np

from sklearn_rnla.linalg.gaussian_process.budget import affordable_landmarks


def test_up_to_some_thousand_rows_are_all_landmarks():
    assert affordable_landmarks(1, 100) == 1
    assert affordable_landmarks(4000, 100) == 4000


def test_more_rows_or_steps_afford_fewer_landmarks():
    sizes = np.geomspace(4001, 1e8, 20).astype(int)
    for counts in (
        [affordable_landmarks(n, 100) for n in sizes],
        [affordable_landmarks(10_000, steps) for steps in (0, 50, 100, 1000)],
    ):
        assert counts[-1] >= 1
        assert np.all(np.diff(counts) <= 0)
