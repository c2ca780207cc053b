"""The exact marginal likelihood of a Gaussian process, where every row is a landmark."""

from typing import Any

import numpy as np
from scipy.linalg import lapack

from ..._typing import Array
from ...operators.feature_map import FeatureMap
from .evidence import Evidence
from .passes import SparseModel


def exact_evidence(
    X: Array,
    Y: Array,
    covariance: Any,
    *,
    alpha: Array | float,
    method: str,
    learn_mean: bool = False,
    gradient: bool = False,
) -> Evidence:
    """Return the exact evidence of a Gaussian process.

    Parameters
    ----------
    X : ndarray of shape (n, n_features)
        In float64.
    Y : ndarray of shape (n, n_targets)
        In float64.
    covariance : node
        Of `operators.covariance`.
    alpha : float or ndarray of shape (n,)
        Noise variance besides that of the covariance.
    method : str
        Of `evidence`: with all rows as landmarks, they are the same.
    learn_mean : bool
        Whether the prior has the most likely constant mean, as in `evidence`.
    gradient : bool
        Whether to compute the gradient. Its evidence does not predict variances.

    Returns
    -------
    Evidence
        Without the gradient, its features are ``K L^-T`` with L the Cholesky factor of the
        covariance of the rows, noise included. Their squared norms are all that the rows
        tell about the variance, so that `shrinkage` is empty.

    Raises
    ------
    LinAlgError
        Where the covariance with noise is not positive definite, or not finite.

    Notes
    -----
    Rasmussen & Williams (2006), algorithm 2.1 and equation 5.9. The Cholesky factor takes
    ``n^3 / 3`` flops, and the gradient ``2 n^3 / 3`` more for the inverse: it goes back
    through the kernel as weights, without a matrix a parameter.
    """
    n, n_targets = Y.shape
    columns = covariance.at(X)
    pull = None
    if gradient:
        K, pull = columns.forward(X)
        # The gradient goes back through the kernel without noise.
        S = K.copy()
    else:
        S = columns(X, np.float64)
    S.flat[:: n + 1] += covariance.noise(X) + alpha
    # In place: the lower triangle of the transposed is that of the columns of LAPACK.
    L, failed = lapack.dpotrf(S.T, lower=1, clean=0, overwrite_a=1)
    if failed:
        raise np.linalg.LinAlgError("The covariance is not positive definite.")
    dual, mean = lapack.dpotrs(L, Y, lower=1)[0], np.zeros(n_targets)
    if learn_mean:
        of_ones = lapack.dpotrs(L, np.ones((n, 1)), lower=1)[0]
        mean = dual.sum(axis=0) / of_ones.sum()
        Y, dual = Y - mean, dual - of_ones * mean
    value = -np.log(np.diagonal(L)).sum() - 0.5 * n * np.log(2 * np.pi)
    value = n_targets * value - 0.5 * np.einsum("ij,ij->", Y, dual)
    if not np.isfinite(value):
        raise np.linalg.LinAlgError("The covariance is not finite.")
    feature_map, slope = None, None
    if gradient:
        weights = dual @ dual.T
        weights -= n_targets * lapack.dpotri(L, lower=1, overwrite_c=1)[0].T
        # Of a symmetric matrix, one triangle stands for both, and half of the diagonal.
        weights = np.triu(weights)
        weights.flat[:: n + 1] /= 2
        by_noise = np.diagonal(weights).copy()
        slope = pull(weights)
        if covariance.has_noise:
            slope = slope + covariance.noise_pullback(X, by_noise)
    else:
        inverse = np.tril(lapack.dtrtri(L, lower=1, overwrite_c=1)[0])
        feature_map = FeatureMap(columns, inverse, triangular=True)
    return Evidence(
        value=value,
        gradient=slope,
        by_points=None,
        model=SparseModel(
            covariance=covariance,
            feature_map=feature_map,
            alpha=alpha,
            method=method,
            learn_mean=learn_mean,
        ),
        dual=dual,
        mean=mean,
        shrinkage=np.empty((0, n)),
        slack=0.0,
        missed=0.0,
    )
