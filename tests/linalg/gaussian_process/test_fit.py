"""How many landmarks a fit can afford, and searches that must not end too early."""

import numpy as np
from sklearn.gaussian_process.kernels import RBF, WhiteKernel

from sklearn_rnla.linalg.gaussian_process.fit import (
    affordable_landmarks,
    fit_gaussian_process,
)
from sklearn_rnla.linalg.gaussian_process.problem import GaussianProcessProblem
from sklearn_rnla.operators import as_row_matrix


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


def test_a_start_with_little_noise_does_not_make_the_kernel_explain_less():
    # Thirty landmarks miss almost all of ten features that matter as much, and 0.05 is far
    # less noise than that. Searches that end early have -524 in all.
    values = []
    for seed in range(5):
        rng = np.random.default_rng(seed)
        X = rng.standard_normal((600, 10))
        y = np.sin(2 * X[:, :1]) * (np.abs(X[:, 1:2]) < 1)
        problem = GaussianProcessProblem(
            rows=as_row_matrix(X),
            Y=y + 0.2 * rng.standard_normal((600, 1)),
            alpha=1e-10,
            method="variational",
            k=30,
            landmarks="rpcholesky",
            rng=rng,
            n_jobs=1,
        )
        start = 1.0 * RBF(np.full(10, 2.0)) + WhiteKernel(0.05)
        found = fit_gaussian_process(problem, start, "fmin_l_bfgs_b", n_steps=100)
        values.append(found.evidence.value)
    assert sum(values) > -490
