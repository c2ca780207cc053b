"""Passes of sparse Gaussian processes: the evidence, its gradient, and predictions.

For rows B of a block, landmarks Z and ``K = k(B, Z)``, features are ``F = K W^T`` with W
the inverse of the Cholesky factor of ``k(Z, Z)``; row i has the variance ``lambda_i`` on
the diagonal that is added to ``F F^T``.
"""

from dataclasses import dataclass

import numpy as np

from ...operators.feature_map import FeatureMap, features, gram_rows
from ...operators.rows import add_states
from ...operators.threads import consecutive

# They differ in what the diagonal holds besides the noise, and in whether the evidence pays
# for the variance that features miss.
METHODS = ("variational", "fitc", "dtc")


@dataclass(frozen=True)
class SparseModel:
    """What the passes need of a sparse Gaussian process.

    Parameters
    ----------
    covariance : node
        Of `operators.covariance`.
    feature_map : FeatureMap
        Features of rows, in float64.
    alpha : float or ndarray of shape (n_rows,)
        Noise variance besides that of the covariance.
    method : {"variational", "fitc", "dtc"}
    learn_mean : bool, default=False
        Whether the prior has a constant mean, the most likely one.
    """

    covariance: object
    feature_map: FeatureMap
    alpha: object
    method: str
    learn_mean: bool = False

    def noise(self, B, rows):
        """Return the noise variances of a part of the rows."""
        alpha = self.alpha if np.ndim(self.alpha) == 0 else self.alpha[rows]
        return self.covariance.noise(B) + alpha


def _parts(block, rank):
    """Yield the rows of a block, in float64, as many at a time as pay for a Gram matrix.

    With them, the slice of all rows that they are.
    """
    for part in consecutive(block.values.shape[0], gram_rows(rank)):
        B = np.asarray(block.values[part], dtype=np.float64)
        yield B, slice(block.start + part.start, block.start + part.stop)


def fold_evidence(state, block, model, Y):
    """Fold what the evidence is made of, with ``L = diag(lambda)``.

    State: ``[F^T L^-1 F, F^T L^-1 Y, sum of log lambda, Y^T L^-1 Y,
    trace of L^-1 (K_nn - F F^T), trace of K_nn, trace of F F^T, [|F_i|^2 of the rows]]``.
    """
    for B, rows in _parts(block, model.feature_map.shape[0]):
        F = features(B, model.feature_map, np.float64)
        prior, captured = model.covariance.diagonal(B), np.einsum("ij,ij->i", F, F)
        variance = model.noise(B, rows)
        left = np.maximum(prior - captured, 0.0)
        if model.method == "fitc":
            variance = variance + left
        root = 1 / np.sqrt(variance)
        F *= root[:, np.newaxis]
        y = Y[rows] * root[:, np.newaxis]
        part = [
            F.T @ F,
            F.T @ y,
            float(np.log(variance).sum()),
            y.T @ y,
            float(root @ (left * root)),
            float(prior.sum()),
            float(captured.sum()),
            [captured],
        ]
        state = add_states(state, part)
    return state


def fold_evidence_gradient(state, block, model, Y, captured, inverse, dual, by_points):
    """Fold the gradient, but for that through ``K_mm``.

    Parameters
    ----------
    model : SparseModel
    Y : ndarray of shape (n_rows, n_targets)
    captured : ndarray of shape (n_rows,)
        ``|F_i|^2``, which `fold_evidence` left.
    inverse : ndarray of shape (m, m)
        ``B^-1``.
    dual : ndarray of shape (m, n_targets)
        The mean is ``K dual``.
    by_points : bool
        Whether to take the gradient with respect to the landmarks, too.

    Returns
    -------
    list
        ``[by parameters, by landmarks (0.0 unless asked for), sum of dlambda_i F_i F_i^T
        (0.0 but for "fitc")]``.

    Notes
    -----
    All products go through F. The product of ``K`` with the one matrix
    ``W^T (I - B^-1) W`` would save a third of the flops. That matrix is bounded, but it is
    made from products of W, which is not.
    """
    covariance, n_targets = model.covariance, Y.shape[1]
    feature_map = model.feature_map
    for B, rows in _parts(block, len(inverse)):
        K, pull = feature_map.columns.forward(B)
        variance, q = model.noise(B, rows), captured[rows]
        left = np.maximum(covariance.diagonal(B) - q, 0.0)
        if model.method == "fitc":
            variance = variance + left
        F = feature_map.of_values(K)
        slope = F @ inverse
        explained = np.einsum("ij,ij->i", F, slope)
        u = (Y[rows] - K @ dual) / variance[:, np.newaxis]
        # The derivative of the evidence with respect to lambda is half of the diagonal of
        # u u^T less that of the inverse covariance.
        precision = 1 / variance - explained / variance**2
        by_variance = (np.einsum("ij,ij->i", u, u) - n_targets * precision) / 2
        by_noise, by_prior, outer = by_variance, None, 0.0
        scale = n_targets / variance
        if model.method == "variational":
            np.subtract(F, slope, out=slope)
            slope *= scale[:, np.newaxis]
            by_noise = by_variance + scale * left / variance / 2
            by_prior = -scale / 2
        else:
            slope *= -scale[:, np.newaxis]
            if model.method == "fitc":
                by_prior = by_variance
                scaled = F * (-2 * by_variance)[:, np.newaxis]
                slope += scaled
                outer = F.T @ scaled
        slope = feature_map.pulled_back(slope)
        slope += u @ dual.T
        points = np.zeros((K.shape[1], B.shape[1])) if by_points else None
        gradient = pull(slope, points)
        if by_prior is not None:
            gradient = gradient + covariance.diagonal_pullback(B, by_prior)
        if covariance.has_noise:
            gradient = gradient + covariance.noise_pullback(B, by_noise)
        state = add_states(state, [gradient, points if by_points else 0.0, outer])
    return state


def posterior(values, feature_map, dual, mean, shrinkage, covariance):
    """Return means and variances at a block's rows, side by side: see `Evidence`.

    Parameters
    ----------
    values : ndarray of shape (n_rows, n_features)
    feature_map : FeatureMap
    dual : ndarray of shape (m, n_targets)
    mean : ndarray of shape (n_targets,)
    shrinkage : ndarray of shape (m, m), or (0, m)
        Root of ``B^-1``: its rows are ``L_B^-1``.
    covariance : node

    Returns
    -------
    ndarray of shape (n_rows, n_targets + 2)
    """
    B = np.asarray(values, dtype=np.float64)
    out = np.empty((len(B), dual.shape[1] + 2))
    for tile in feature_map.tiles(len(B), np.float64):
        K = feature_map.columns(B[tile], np.float64)
        F = K @ feature_map.W.T
        kept = F @ shrinkage.T
        out[tile, :-2] = K @ dual + mean
        prior = covariance.diagonal(B[tile])
        variance = prior - np.einsum("ij,ij->i", F, F) + np.einsum("ij,ij->i", kept, kept)
        # The exact variance lies between zero and that of the prior; rounding may not.
        out[tile, -2] = np.clip(variance, 0.0, prior)
        out[tile, -1] = covariance.noise(B[tile])
    return out
