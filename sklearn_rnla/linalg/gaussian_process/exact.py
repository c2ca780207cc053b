"""The exact marginal likelihood of a Gaussian process, where every row is a landmark."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from ..dense.triangular import inverse_cholesky


class ExactEvidence(NamedTuple):
    """Log marginal likelihood of a Gaussian process.

    Attributes
    ----------
    value : float
        Sum over the targets.
    gradient : ndarray of shape (n_params,) or None
        With respect to ``kernel.theta``.
    """

    value: float
    gradient: np.ndarray | None


def exact_evidence(X, Y, covariance, *, alpha, gradient=False):
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
    gradient : bool
        Whether to compute the gradient.

    Returns
    -------
    ExactEvidence

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
    K, pull = covariance.at(X).forward(X)
    S = K.copy()
    S.flat[:: n + 1] += covariance.noise(X) + alpha
    if not np.isfinite(S).all():
        raise np.linalg.LinAlgError("The covariance is not finite.")
    half = inverse_cholesky(S)
    c = half @ Y
    value = np.log(np.diagonal(half)).sum() - 0.5 * n * np.log(2 * np.pi)
    value = n_targets * value - 0.5 * np.einsum("ij,ij->", c, c)
    if not gradient:
        return ExactEvidence(float(value), None)
    dual = half.T @ c
    weights = 0.5 * (dual @ dual.T - n_targets * (half.T @ half))
    by_noise = np.diagonal(weights).copy()
    slope = pull(weights)
    if covariance.has_noise:
        slope = slope + covariance.noise_pullback(X, by_noise)
    return ExactEvidence(float(value), slope)
