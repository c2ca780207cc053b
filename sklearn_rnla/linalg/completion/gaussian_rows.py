"""A Gaussian distribution of the rows of a table, and what it says of missing entries."""

from functools import cached_property

import numpy as np

from ...operators.threads import kernel_jobs, run_lanes, split
from .column_units import ColumnUnits
from .model import LowRankModel, RowPrior

# Rows of a block, the unit of threads and of summation.
BLOCK = 512


class GaussianRows:
    """A Gaussian distribution of the rows of a table.

    Parameters
    ----------
    location, scale : ndarray of shape (p,)
        The distribution is that of ``(x - location) / scale``.
    mean : ndarray of shape (p,)
    values : ndarray of shape (p,)
        Eigenvalues of the covariance, positive and ascending.
    vectors : ndarray of shape (p, p)
        Its eigenvectors, in columns.

    Attributes
    ----------
    precision : ndarray of shape (p, p)
        Inverse of the covariance.
    """

    def __init__(self, location, scale, mean, values, vectors):
        self.location = location
        self.scale = scale
        self.mean = mean
        self.values = values
        self.vectors = vectors

    def __getstate__(self):
        state = vars(self).copy()
        state.pop("precision", None)
        return state

    @cached_property
    def precision(self):
        return (self.vectors / self.values) @ self.vectors.T

    @property
    def center(self):
        """Mean of the rows of the table, of shape (p,)."""
        return self.location + self.scale * self.mean

    def deviations(self, X):
        """Return standardised deviations of rows from the mean, in float64."""
        return (X - self.center) / self.scale

    def standardised(self, X):
        """Return rows in units of location and scale, in float32."""
        return ((X - self.location) / self.scale).astype(np.float32)

    def fill(self, X, *, n_jobs=None):
        """Return rows with conditional means for their missing entries.

        Parameters
        ----------
        X : ndarray of shape (m, p)
            NaN where missing.
        n_jobs : int, default=None

        Returns
        -------
        ndarray of shape (m, p)
        """
        filled, center = np.array(X), self.center

        def run(rows):
            missing = np.isnan(X[rows])
            if missing.any():
                D = self.deviations(X[rows])
                self.condition(D, missing)
                filled[rows][missing] = (center + self.scale * D)[missing]

        for _ in run_lanes(run, split(len(X), BLOCK), kernel_jobs(n_jobs)):
            pass
        return filled

    def residuals(self, filled):
        """Return by how much entries differ from what the others of their row tell.

        Parameters
        ----------
        filled : ndarray of shape (m, p)
            Rows with conditional means for their missing entries.

        Returns
        -------
        ndarray of shape (m, p)
            Standardised. Where an entry is not missing, too small by the share of its
            precision that the missing ones have; else zero.
        """
        P = self.precision
        return (self.deviations(filled) @ P) / P.diagonal()

    def residuals_without_row(self, filled, n_rows, shrinkage):
        """Return such residuals by the distribution that the other rows would have.

        Parameters
        ----------
        filled : ndarray of shape (m, p)
            Rows among those that the distribution was fitted to.
        n_rows : int
            How many these were.
        shrinkage : float
            Rows that the prior of the covariance is worth.

        Returns
        -------
        ndarray of shape (m, p)
            Standardised.

        Notes
        -----
        A row d less in the scatter is a change of rank one of the precision (Sherman &
        Morrison). It matters for rows that determine the covariance by themselves, of
        whose entries nothing would be known if they were not.
        """
        D, P = self.deviations(filled), self.precision
        u = D @ P
        leverage = np.einsum("ij,ij->i", u, D)[:, np.newaxis]
        # The mean has been fitted as well.
        weight = (n_rows + shrinkage) * (1 - 1 / max(n_rows, 2))
        left = np.maximum(weight - leverage, np.finfo(np.float64).eps * weight)
        residuals = u * (1 + leverage / left)
        np.square(u, out=u)
        u /= left
        u += P.diagonal()
        residuals /= u
        return residuals

    def condition(self, D, missing, spread=None):
        """Set missing deviations to their conditional means, and add up their covariances.

        Parameters
        ----------
        D : ndarray of shape (m, p)
            Deviations of rows; those missing are set.
        missing : ndarray of bool of shape (m, p)
        spread : ndarray of shape (p, p), default=None
            Where the lower triangles of conditional covariances are added to.

        Returns
        -------
        float
            Sum of the log determinants of the precisions of what is missing in a row.
        """
        from ..._kernels.em import fill_rows

        D[missing] = 0
        P = self.precision
        spread = np.empty((0, 0)) if spread is None else spread
        return fill_rows(missing, D @ P, P, D, spread)

    def low_rank_model(self, rank, filled):
        """Return the distribution as a model of factors.

        Parameters
        ----------
        rank : int
            Number of factors; the smaller eigenvalues are noise, all of one size.
        filled : ndarray of shape (n, p)
            Rows of the table with conditional means for their missing entries; those of
            the model have the factors that are expected given them.

        Returns
        -------
        LowRankModel
            Of one sample, without row biases.
        """
        n, p = filled.shape
        values = self.values[::-1][:rank]
        noise = self.values[0]
        signal = np.sqrt(np.maximum(values - noise, 0))
        V = self.vectors[:, ::-1][:, :rank]
        columns = np.zeros((p, 1, rank + 1), filled.dtype)
        columns[:, 0, 1:] = V * signal
        rows = np.zeros((n, 1, rank + 1), filled.dtype)
        # The mean of a row's factors is linear in its entries: given the known ones it is
        # that of the filled row.
        project = V * (signal / values)
        for block in split(n, BLOCK):
            rows[block, 0, 1:] = self.deviations(filled[block]) @ project
        prior = RowPrior.ridge(p, np.inf, np.ones(rank))
        return LowRankModel(
            units=ColumnUnits(self.center, self.scale),
            rows=rows,
            columns=columns,
            prior=prior._replace(noise=np.array([1 / noise])),
            new_column=np.zeros_like(columns[:1]),
        )
