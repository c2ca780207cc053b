"""Sparse Gaussian process regression: the evidence, its gradient, the posterior."""

from typing import Any, NamedTuple

import numpy as np

from ..._typing import Array
from ...operators import RowMatrix
from ...operators.feature_map import FeatureMap, predictions
from ..dense.triangular import inverse_cholesky
from .passes import SparseModel, fold_evidence, fold_evidence_gradient, posterior

# What is added to the diagonal of the landmarks' covariance, in eps of its mean times m.
# It grows tenfold as long as there is no Cholesky factor, up to this share of the mean.
_JITTER = 16.0
_LARGEST_JITTER = 1e-4


class Evidence(NamedTuple):
    """Log marginal likelihood of a sparse Gaussian process, or its lower bound.

    Attributes
    ----------
    value : float
        Sum over the targets.
    gradient : ndarray of shape (n_params,) or None
        With respect to ``kernel.theta``.
    by_points : ndarray of shape (m, n_features) or None
        With respect to the landmarks.
    model : SparseModel
        The prior, on its landmarks.
    dual : ndarray of shape (m, n_targets)
        Posterior means are ``k(B, Z) dual + mean``.
    mean : ndarray of shape (n_targets,)
        That of the prior.
    shrinkage : ndarray of shape (m, m), or (0, m)
        ``L_B^-1``, of ``B = I + F^T L^-1 F``. Empty for `exact_evidence`.
    slack : float
        Half the trace of ``L^-1 (K_nn - F F^T)``, summed over the targets: what the
        variational bound takes from the likelihood.
    missed : float
        Mean of the diagonal of ``K_nn - F F^T``: the variance that the features miss.
    """

    value: float
    gradient: np.ndarray | None
    by_points: np.ndarray | None
    model: SparseModel
    dual: np.ndarray
    mean: np.ndarray
    shrinkage: np.ndarray
    slack: float
    missed: float

    @property
    def is_exact(self) -> bool:
        """Whether it is that of all rows, without any approximation."""
        return not len(self.shrinkage)

    def predict(self, rows: RowMatrix) -> Any:
        """Return the posterior means.

        Parameters
        ----------
        rows : RowMatrix

        Returns
        -------
        ndarray of shape (n_rows, n_targets)
            A lazy array where the source is lazy.
        """
        columns, n_targets = self.model.feature_map.columns, self.dual.shape[1]
        return rows.map(
            predictions,
            columns,
            self.dual,
            self.mean,
            np.float64,
            n_columns=n_targets,
            dtype=np.float64,
        )

    def predict_with_variance(self, rows: RowMatrix) -> Any:
        """Return means, the variance of the function, and that of the noise.

        Parameters
        ----------
        rows : RowMatrix

        Returns
        -------
        ndarray of shape (n_rows, n_targets + 2)
            A lazy array where the source is lazy.
        """
        return rows.map(
            posterior,
            self.model.feature_map,
            self.dual,
            self.mean,
            self.shrinkage,
            self.model.covariance,
            n_columns=self.dual.shape[1] + 2,
            dtype=np.float64,
        )

    def covariance(self, B: Array) -> Array:
        """Return the covariance of rows B, with noise on the diagonal.

        Parameters
        ----------
        B : ndarray of shape (n_rows, n_features)
            In float64.

        Returns
        -------
        ndarray of shape (n_rows, n_rows)
        """
        prior = self.model.covariance
        F = self.model.feature_map.of_tile(B, np.float64)
        regained = F @ self.shrinkage.T
        cov = prior.at(B)(B, np.float64) - F @ F.T + regained @ regained.T
        cov.flat[:: len(B) + 1] += prior.noise(B)
        return cov


def evidence(
    rows: RowMatrix,
    Y: Array,
    covariance: Any,
    Z: Array,
    *,
    alpha: Array | float,
    method: str,
    learn_mean: bool = False,
    gradient: bool = False,
    by_points: bool = False,
) -> Evidence:
    """Return the evidence of a Gaussian process on landmarks.

    Parameters
    ----------
    rows : RowMatrix
        Dense.
    Y : ndarray of shape (n_rows, n_targets)
        In float64.
    covariance : node
        Of `operators.covariance`.
    Z : ndarray of shape (m, n_features)
        Landmarks.
    alpha : float or ndarray of shape (n_rows,)
        Noise variance besides that of the covariance.
    method : {"variational", "fitc", "dtc"}
        - "variational": lower bound of Titsias (2009), equation 9;
        - "fitc": Snelson & Ghahramani (2006): the exact variances on the diagonal;
        - "dtc": Seeger, Williams & Lawrence (2003): the likelihood of ``F F^T + L`` alone.
    learn_mean : bool
        Whether the prior has the most likely constant mean, by generalised least squares
        (Rasmussen & Williams 2006, section 2.7), in place of zero.
    gradient : bool
        Whether to compute the gradient with respect to the parameters.
    by_points : bool
        Whether to compute that with respect to the landmarks, too; needs
        `has_point_slopes`.

    Returns
    -------
    Evidence

    Raises
    ------
    LinAlgError
        Where the landmarks' covariance has no Cholesky factor, or nothing is finite.

    Notes
    -----
    Costs ``2 n m^2`` flops and a pass over the rows, and twice as many for the gradient
    ("fitc": three times). Memory is O(m^2 + n + block). Whitening by W before the sum
    keeps the condition of the landmarks' covariance out of B.
    """
    columns = covariance.at(Z)
    W = _whitening(columns(Z, np.float64))
    model = SparseModel(
        covariance=covariance,
        feature_map=FeatureMap(columns, W, triangular=True),
        alpha=alpha,
        method=method,
        learn_mean=learn_mean,
    )
    n, n_targets = Y.shape
    # The last target is the constant that its mean is a multiple of.
    gram, b, log_variance, squares, slack, prior, captured, parts = rows.fold(
        fold_evidence, model, np.hstack([Y, np.ones((n, 1))])
    )
    # By the identities of Woodbury and of determinants, the inverse and determinant of
    # F F^T + L of all rows follow from those of B, of the size of the landmarks.
    B = gram.copy()
    B.flat[:: len(B) + 1] += 1.0
    if not np.isfinite(squares).all() or not np.isfinite(B).all():
        raise np.linalg.LinAlgError("The covariance is not finite.")
    shrinkage = inverse_cholesky(B)
    c = shrinkage @ b
    quadratic = squares - c.T @ c
    mean = quadratic[-1, :-1] / quadratic[-1, -1] if learn_mean else np.zeros(n_targets)
    centring = np.vstack([np.eye(n_targets), -mean])
    weight = shrinkage.T @ (c @ centring)
    dual = W.T @ weight
    log_determinant = log_variance - 2 * np.log(np.diagonal(shrinkage)).sum()
    value = -0.5 * (
        n_targets * (n * np.log(2 * np.pi) + log_determinant)
        + np.trace(centring.T @ quadratic @ centring)
    )
    slack *= 0.5 * n_targets
    if method == "variational":
        value -= slack
    found = Evidence(
        value=value,
        gradient=None,
        by_points=None,
        model=model,
        dual=dual,
        mean=mean,
        shrinkage=shrinkage,
        slack=slack,
        missed=max(0.0, prior - captured) / n,
    )
    if not gradient:
        return found
    captured = np.concatenate(parts)
    # At the most likely mean, the evidence does not change with it.
    slope, point_slope = _gradient(
        found, rows, Y - mean, Z, gram, weight, captured, by_points
    )
    return found._replace(gradient=slope, by_points=point_slope)


def _whitening(K):
    """Return the inverse of the Cholesky factor of K, with as little jitter as it takes."""
    m = len(K)
    K = (K + K.T) / 2
    scale = np.diagonal(K).mean()
    jitter = _JITTER * m * np.finfo(np.float64).eps
    if scale == 0:
        # The covariance of landmarks is zero, and so are the features.
        return np.zeros_like(K)
    # Each turn adds to what is there already.
    while True:
        K.flat[:: m + 1] += jitter * scale
        try:
            return inverse_cholesky(K)
        except np.linalg.LinAlgError:
            jitter *= 10
            if not jitter < _LARGEST_JITTER:
                raise


def _gradient(found, rows, Y, Z, gram, weight, captured, by_points):
    """Return the gradients: a second pass, and what comes through ``K_mm``.

    Parameters
    ----------
    found : Evidence
        The evidence, without gradients.
    rows, Y, Z
        As in `evidence`.
    gram : ndarray of shape (m, m)
        ``F^T L^-1 F``.
    weight : ndarray of shape (m, n_targets)
        ``B^-1 F^T L^-1 Y``: coefficients of the features.
    captured : ndarray of shape (n_rows,)
        Squared norms of the features.
    by_points : bool
        Whether to compute the gradient with respect to the landmarks, too.

    Returns
    -------
    by_parameters : ndarray of shape (n_params,)
    points : ndarray of shape (m, n_features) or None
    """
    model, inverse = found.model, found.shrinkage.T @ found.shrinkage
    W, n_targets = model.feature_map.W, Y.shape[1]
    # The evidence depends on K_mm through F F^T = K_nm K_mm^-1 K_mn alone. Its derivative
    # by K_mm is minus half of W^T (.) W of this: the basis of the features is that of W.
    through = n_targets * (inverse - np.eye(len(W))) + weight @ weight.T
    if model.method == "variational":
        through += n_targets * gram
    by_parameters, points, outer = rows.fold(
        fold_evidence_gradient, model, Y, captured, inverse, found.dual, by_points
    )
    through += outer
    through = -0.5 * (W.T @ (through @ W))
    _, pull = model.feature_map.columns.forward(Z)
    if not by_points:
        return by_parameters + pull(through), None
    # Landmarks are both sides of a symmetric matrix.
    half = np.zeros_like(points)
    by_parameters = by_parameters + pull((through + through.T) / 2, half)
    return by_parameters, points + 2 * half
