"""From coarse to fine: which search goes on."""

import numpy as np
import pytest
from sklearn.gaussian_process.kernels import RBF, WhiteKernel

from sklearn_rnla.linalg.gaussian_process.fit import Start, _most_evident
from sklearn_rnla.linalg.gaussian_process.problem import GaussianProcessProblem
from sklearn_rnla.operators import as_row_matrix


@pytest.mark.parametrize("backwards", [False, True])
def test_the_start_with_more_evidence_goes_on(seed, backwards):
    rng = np.random.default_rng(seed)
    X = rng.uniform(-3, 3, (200, 1))
    y = np.sin(X) + 0.01 * rng.standard_normal((200, 1))
    problem = GaussianProcessProblem(
        rows=as_row_matrix(X),
        Y=y,
        alpha=1e-10,
        method="variational",
        k=20,
        landmarks="rpcholesky",
        rng=rng,
        n_jobs=None,
    )
    good = RBF(1.0) + WhiteKernel(1e-3)
    starts = [Start(good), Start(RBF(1e-3) + WhiteKernel(0.5))]
    found = _most_evident(problem, starts[::-1] if backwards else starts)
    np.testing.assert_allclose(found.kernel.theta, good.theta)
