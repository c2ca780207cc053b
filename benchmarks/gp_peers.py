"""Gaussian processes of gpytorch and scikit-learn, under the kernel of ours."""

import time
import warnings
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import numpy as np
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import RBF, ConstantKernel, WhiteKernel

from .harness import installed

_BLOCK = 8192

# The bound of a `WhiteKernel`.
_LEAST_NOISE = 1e-5


class Posterior(NamedTuple):
    """What a fit predicts: a function of rows that returns mean and deviation of y.

    Attributes
    ----------
    predict : callable
    n_iter : int or None
    seconds : float or None
        Of the fit so far, where it is watched.
    """

    predict: Callable
    n_iter: int | None = None
    seconds: float | None = None


class Setting(NamedTuple):
    """How gpytorch optimises.

    Attributes
    ----------
    optimizer : {"Adam", "LBFGS"}
    rate : float
        Learning rate.
    most, every : int
        Iterations at most, and from one posterior to the next.
    dtype : str
    longest : float
        Seconds after which no further iterations begin.
    """

    optimizer: str
    rate: float
    most: int
    every: int
    dtype: str = "float64"
    longest: float = 900.0


def start_kernel(d):
    """Return the kernel that every method starts from."""
    return ConstantKernel(1.0) * RBF(np.ones(d)) + WhiteKernel(0.1)


def nlpd(y, mean, std):
    """Return the mean negative log predictive density of normal distributions."""
    return float(np.mean(np.log(std) + 0.5 * ((y - mean) / std) ** 2)) + 0.5 * np.log(
        2 * np.pi
    )


def exact(X, y):
    """Fit scikit-learn's regressor, which needs the whole kernel matrix."""
    model = GaussianProcessRegressor(start_kernel(X.shape[1]), random_state=0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model.fit(X, y)
    return Posterior(partial(model.predict, return_std=True))


def sgpr(X, y, m, setting, *, seed=0):
    """Yield posteriors of one fit of gpytorch's sparse regression, as it goes on.

    Inducing points start as random rows and are learned, as its documentation does. Each
    posterior is that of its time: it predicts before the next one is asked for.

    Raises
    ------
    RuntimeError
        When a covariance has no Cholesky factor, in an iteration or in a prediction.
    """
    torch, gpytorch = installed("torch"), installed("gpytorch")
    torch.manual_seed(seed)
    to_torch = partial(torch.as_tensor, dtype=getattr(torch, setting.dtype))
    start = time.perf_counter()
    chosen = np.random.default_rng(seed).choice(len(X), m, replace=False)
    inputs, targets = to_torch(X), to_torch(y)
    model = _model(gpytorch, inputs, targets, inputs[chosen].clone())
    bound = gpytorch.mlls.ExactMarginalLogLikelihood(model.likelihood, model)
    advance = _optimizer(torch, setting, model.parameters())
    seconds = time.perf_counter() - start

    def loss():
        model.zero_grad()
        value = -bound(model(inputs), targets)
        value.backward()
        return value

    def predict(new):
        model.eval()
        parts = []
        with torch.no_grad():
            for i in range(0, len(new), _BLOCK):
                found = model.likelihood(model(to_torch(new[i : i + _BLOCK])))
                parts.append((found.mean.numpy(), found.stddev.numpy()))
        return [np.concatenate(part) for part in zip(*parts, strict=True)]

    for n_iter in range(setting.every, setting.most + 1, setting.every):
        model.train()
        start = time.perf_counter()
        advance(loss)
        seconds += time.perf_counter() - start
        yield Posterior(predict, n_iter, seconds)
        if seconds > setting.longest:
            break


def _model(gpytorch, X, y, Z):
    """Return the model, of the starting values of `start_kernel` and a constant mean."""
    kernels = gpytorch.kernels

    class SGPR(gpytorch.models.ExactGP):
        def __init__(self):
            # Its own bound, 1e-4, is too high for data with hardly any noise.
            least = gpytorch.constraints.GreaterThan(_LEAST_NOISE)
            likelihood = gpytorch.likelihoods.GaussianLikelihood(noise_constraint=least)
            likelihood.noise = 0.1
            super().__init__(X, y, likelihood)
            rbf = kernels.RBFKernel(ard_num_dims=X.shape[1])
            rbf.lengthscale = 1.0
            scaled = kernels.ScaleKernel(rbf)
            scaled.outputscale = 1.0
            self.mean_module = gpytorch.means.ConstantMean()
            self.covar_module = kernels.InducingPointKernel(scaled, Z, likelihood)
            self.to(X.dtype)

        def forward(self, rows):
            return gpytorch.distributions.MultivariateNormal(
                self.mean_module(rows), self.covar_module(rows)
            )

    return SGPR()


def _optimizer(torch, setting, parameters):
    """Return a function of a loss that takes the steps from one posterior to the next."""
    if setting.optimizer == "LBFGS":
        return torch.optim.LBFGS(
            parameters,
            lr=setting.rate,
            max_iter=setting.every,
            max_eval=2 * setting.every,
            line_search_fn="strong_wolfe",
        ).step
    adam = torch.optim.Adam(parameters, lr=setting.rate)

    def advance(loss):
        for _ in range(setting.every):
            adam.step(loss)

    return advance
