"""The exact marginal likelihood of a Gaussian process, where every row is a landmark."""

from __future__ import annotations

import numpy as np

from ...operators.feature_map import FeatureMap
from ..dense.triangular import inverse_cholesky
from .evidence import Evidence
from .passes import SparseModel


def exact_evidence(X, Y, covariance, *, alpha, method, gradient=False):
    """Return the exact evidence of a Gaussian process.

    Parameters
    ----------
    X : ndarray of shape (n, n_features)
        In float64.
    Y : ndarray of shape (n, n_targets)
        In float64; the prior mean is zero.
    covariance : node
        Of `operators.covariance`.
    alpha : float or ndarray of shape (n,)
        Noise variance besides that of the covariance.
    method : str
        Of `evidence`: with all rows as landmarks, they are the same.
    gradient : bool
        Whether to compute the gradient.

    Returns
    -------
    Evidence
        Its features are ``K L^-T`` with L the Cholesky factor of the covariance of the
        rows, noise included. Their squared norms are all that the rows tell about the
        variance, so that `shrinkage` is empty.

    Raises
    ------
    LinAlgError
        Where the covariance with noise is not positive definite, or not finite.

    Notes
    -----
    Rasmussen & Williams (2006), algorithm 2.1 and equation 5.9. About ``n^3`` flops, and
    as many for the gradient: fewer than on n landmarks, and nothing is whitened. The
    gradient goes back through the kernel as weights, without a matrix a parameter.
    """
    n, n_targets = Y.shape
    columns = covariance.at(X)
    S, pull = columns.forward(X) if gradient else (columns(X, np.float64), None)
    S = S.copy()
    S.flat[:: n + 1] += covariance.noise(X) + alpha
    if not np.isfinite(S).all():
        raise np.linalg.LinAlgError("The covariance is not finite.")
    half = inverse_cholesky(S)
    c = half @ Y
    value = np.log(np.diagonal(half)).sum() - 0.5 * n * np.log(2 * np.pi)
    value = n_targets * value - 0.5 * np.einsum("ij,ij->", c, c)
    dual = half.T @ c
    found = Evidence(
        value=value,
        gradient=None,
        by_points=None,
        model=SparseModel(
            covariance=covariance,
            feature_map=FeatureMap(columns, half, triangular=True),
            alpha=alpha,
            method=method,
        ),
        dual=dual,
        shrinkage=np.empty((0, n)),
        slack=0.0,
        trace_error=0.0,
    )
    if not gradient:
        return found
    weights = 0.5 * (dual @ dual.T - n_targets * (half.T @ half))
    by_noise = np.diagonal(weights).copy()
    slope = pull(weights)
    if covariance.has_noise:
        slope = slope + covariance.noise_pullback(X, by_noise)
    return found._replace(gradient=slope)
