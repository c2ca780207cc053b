"""The search for parameters of a Gaussian process: projected BFGS or L-BFGS-B of scipy."""

import time
from contextlib import contextmanager

import numpy as np
import scipy.optimize
from sklearn.gaussian_process.kernels import RBF, ConstantKernel, WhiteKernel

from sklearn_rnla import NystroemGaussianProcessRegressor
from sklearn_rnla.linalg.dense.bfgs import Minimum
from sklearn_rnla.linalg.gaussian_process import fit as search


def of_scipy(function, x, bounds, *, tol, hessian=None, stop=None):
    """Minimise by L-BFGS-B, which starts from no curvature, to the same tolerance."""
    x = np.clip(x, *bounds.T)
    options = {"ftol": tol, "gtol": 0.0}
    found = scipy.optimize.minimize(
        function, x, jac=True, bounds=bounds, method="L-BFGS-B", options=options
    )
    value, slope = function(found.x)
    hessian = np.eye(len(x)) if hessian is None else hessian
    return Minimum(x=found.x, value=value, slope=slope, hessian=hessian)


@contextmanager
def _minimizer(function):
    own = search.minimize
    search.minimize = function
    try:
        yield
    finally:
        search.minimize = own


def parameters(report, quick):
    """Find length scales, one of each feature, with landmarks that are samples."""
    rows = []
    for d in (2,) if quick else (4, 8):
        rng = np.random.default_rng(d)
        X = rng.standard_normal((400 if quick else 6000, d))
        y = np.sin(2 * X[:, 0]) + X[:, 1] ** 2 / 2 + 0.1 * rng.standard_normal(len(X))
        kernel = ConstantKernel() * RBF(np.ones(d)) + WhiteKernel()
        gpr = NystroemGaussianProcessRegressor(
            kernel, n_landmarks=20 if quick else 300, n_landmark_steps=0, random_state=0
        )
        for name, minimize in {"BFGS": search.minimize, "L-BFGS-B": of_scipy}.items():
            with _minimizer(minimize):
                seconds = []
                for _ in range(1 if quick else 3):
                    start = time.process_time()
                    gpr.fit(X, y)
                    seconds.append(time.process_time() - start)
            rows.append(
                {
                    "features": d,
                    "search": name,
                    "bound": gpr.log_marginal_likelihood_value_,
                    "evaluations": gpr.n_iter_,
                    "seconds": np.median(seconds),
                }
            )
    report.table(rows)
