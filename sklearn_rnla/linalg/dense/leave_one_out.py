"""The penalty of a ridge regression, by exact leave-one-out errors."""

from dataclasses import dataclass

import numpy as np

from ...operators.feature_map import features, gram_rows
from ...operators.rows import add_states
from ...operators.threads import consecutive
from .ritz import descending_eigh

# Residuals of about this many penalties and targets together are in memory at a time.
_COLUMNS = 256


@dataclass(frozen=True)
class LeaveOneOut:
    """Ridge regressions on the same features, one for each penalty.

    Attributes
    ----------
    mean : ndarray of shape (n_features,)
        The point that features are taken about; zero without an intercept.
    rotation : ndarray of shape (rank, n_features)
        Eigenvectors of the Gram matrix of the features, as rows.
    shrinkage : ndarray of shape (rank, n_alphas)
        Inverses of its eigenvalues plus the penalties.
    products : ndarray of shape (rank, n_targets)
        Of the rotated features and the targets: with the shrinkage, the coefficients.
    share : float
        What a row of weight one has of the mean; zero without an intercept.
    floor : float
        What a regression leaves of a row's own weight is rounding up to here.
    """

    mean: np.ndarray
    rotation: np.ndarray
    shrinkage: np.ndarray
    products: np.ndarray
    share: float
    floor: float

    @classmethod
    def of_normal_equations(cls, G, FY, mean, share, alphas):
        """Return the regressions of normal equations about the mean."""
        values, rotation = descending_eigh(G)
        floor = len(values) * np.finfo(np.float64).eps
        values = np.where(values > floor * values[0], values, 0.0)[:, np.newaxis]
        total = values + alphas
        shrinkage = np.where(total > 0, 1 / np.where(total > 0, total, 1.0), 0.0)
        return cls(mean, rotation, shrinkage, rotation @ FY, share, floor)

    def squares(self, F, Y, weight):
        """Return the sums of squared leave-one-out errors: ndarray of shape (n_alphas,).

        Parameters
        ----------
        F : ndarray of shape (n_rows, n_features)
            Features.
        Y : ndarray of shape (n_rows, n_targets)
            Targets, about their mean where there is an intercept.
        weight : ndarray of shape (n_rows,) or None
            Weights of the rows.
        """
        rotated = (F - self.mean) @ self.rotation.T
        own = np.square(rotated) @ self.shrinkage + self.share
        if weight is not None:
            own *= weight[:, np.newaxis]
        squares = np.empty_like(own)
        for some in consecutive(own.shape[1], max(1, _COLUMNS // Y.shape[1])):
            coef = self.shrinkage[:, some, np.newaxis] * self.products[:, np.newaxis]
            fitted = rotated @ coef.reshape(len(coef), -1)
            residual = Y[:, np.newaxis] - fitted.reshape(len(F), -1, Y.shape[1])
            squares[:, some] = np.einsum("iaj,iaj->ia", residual, residual)
        # A row that is fitted whatever its target is has an error of zero over zero, which
        # must not recommend a penalty.
        left = 1.0 - own
        known = left > self.floor
        squares = np.where(known, squares / np.where(known, left, 1.0) ** 2, np.inf)
        return squares.sum(axis=0) if weight is None else weight @ squares


def least_loo_alpha(alphas, regressions, squares_of):
    """Return the penalty whose regression has the least leave-one-out error.

    A row that is left out has the error ``e_i / (1 - h_i)``, with ``e_i`` its residual and
    ``h_i`` its own share in its fitted value (Allen 1974): no regression is done again.

    Parameters
    ----------
    alphas : ndarray of shape (n_alphas,)
        Penalties; of several that are equally good, the largest is taken.
    regressions : callable
        ``regressions(alphas)`` is the `LeaveOneOut` of these penalties.
    squares_of : callable
        ``squares_of(loo)`` is the sum of `LeaveOneOut.squares` over all rows.

    Returns
    -------
    float
    """
    alphas = np.unique(alphas)[::-1]
    return float(alphas[int(np.argmin(squares_of(regressions(alphas))))])


def fold_leave_one_out(state, block, feature_map, loo, Y, dtype):
    """Fold the squared leave-one-out errors of a block: ``[sums for each penalty]``."""
    for part in consecutive(block.values.shape[0], gram_rows(feature_map.shape[0])):
        F = features(block.values[part], feature_map, dtype)
        weight = None if block.weight is None else block.weight[part].astype(np.float64)
        targets = Y[block.start + part.start : block.start + part.stop]
        state = add_states(state, [loo.squares(F, targets, weight)])
    return state
