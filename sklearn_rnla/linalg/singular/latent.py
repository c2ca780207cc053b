"""Latent coordinates of rows with missing entries, under a Gaussian of low rank."""

from typing import Any, NamedTuple

import numpy as np

from ...operators.passes import dense_rows
from ...operators.threads import consecutive

# Least variance of the noise, in units of the largest or of the mean variance. Equations
# of latent variables have a condition of its inverse: rounding would be their solution.
LEAST_NOISE = float(np.finfo(np.float64).eps) ** 0.75

# Numbers of an array that is made of a few rows at a time.
_ENTRIES = 2**20


class LatentModel(NamedTuple):
    """The Gaussian of ``x = mean + W z + noise``, with standard normal z.

    Attributes
    ----------
    W : ndarray of shape (n_features, k)
        Loadings.
    mean : ndarray of shape (n_features,)
    noise : float
        Variance of the noise, positive.
    """

    W: np.ndarray
    mean: np.ndarray
    noise: float


class LatentRows(NamedTuple):
    """What the known entries of rows say of ``z`` in ``x = mean + W z + noise``.

    Attributes
    ----------
    known : ndarray of bool of shape (n_rows, n_features)
    deviations : ndarray of shape (n_rows, n_features)
        Of the known entries from the mean; zero where missing.
    rest : ndarray of shape (n_rows, n_features)
        What the latent means leave of the deviations; zero where missing.
    means : ndarray of shape (n_rows, k)
        Posterior means of z.
    which : ndarray of int of shape (n_rows,)
        The pattern of each row.
    patterns : ndarray of shape (n_patterns, n_features)
        Distinct rows of `known`, as numbers.
    inverse : ndarray of shape (n_patterns, k, k)
        ``(W_o^T W_o + noise I)^-1`` of the known features o; times the noise it is the
        posterior covariance of z.
    log_likelihood : ndarray of shape (n_rows,)
        Log-density of what is known: zero for a row without an entry.
    """

    known: np.ndarray
    deviations: np.ndarray
    rest: np.ndarray
    means: np.ndarray
    which: np.ndarray
    patterns: np.ndarray
    inverse: np.ndarray
    log_likelihood: np.ndarray

    @classmethod
    def of(cls, values: Any, model: Any) -> Any:
        """Return the posterior of a few rows.

        Parameters
        ----------
        values : ndarray of shape (n_rows, n_features)
            In float64; NaN where missing.
        model : LatentModel

        Notes
        -----
        ``n_features k^2`` flops for each pattern of missing entries, in one matrix product
        for all of them, and ``k^3`` for an inverse.
        """
        W, mean, noise = model
        k = W.shape[1]
        known = ~np.isnan(values)
        deviations = np.where(known, values - mean, 0.0)
        patterns, which = _distinct(known)
        i, j = np.triu_indices(k)
        upper = patterns @ (W[:, i] * W[:, j])
        M = np.empty((len(patterns), k, k))
        M[:, i, j] = M[:, j, i] = upper
        M[:, np.arange(k), np.arange(k)] += noise
        inverse = np.linalg.inv(M)
        means = np.einsum("nij,nj->ni", inverse[which], deviations @ W)
        rest = deviations - known * (means @ W.T)
        n_known = patterns.sum(axis=1)
        constant = n_known * np.log(2 * np.pi) + (n_known - k) * np.log(noise)
        constant += np.linalg.slogdet(M)[1]
        squares = np.einsum("ij,ij->i", rest, rest) / noise
        squares += np.einsum("ij,ij->i", means, means)
        return cls(
            known=known,
            deviations=deviations,
            rest=rest,
            means=means,
            which=which,
            patterns=patterns,
            inverse=inverse,
            log_likelihood=-0.5 * (squares + constant[which]),
        )


def _distinct(known):
    """Return the distinct rows of a mask, as numbers, and which of them each row is."""
    packed = np.ascontiguousarray(np.packbits(known, axis=1))
    keys = packed.view(np.dtype((np.void, packed.shape[1])))[:, 0]
    _, first, which = np.unique(keys, return_index=True, return_inverse=True)
    return known[first].astype(np.float64), which.reshape(-1)


def pieces_of(values: Any, k: int) -> Any:
    """Yield slices of rows that are few enough to be dense, with products of k numbers."""
    n_rows, n_features = values.shape
    size = max(16, _ENTRIES // max(n_features, (k + 2) ** 2))
    yield from consecutive(n_rows, size)


def double(values: Any) -> Any:
    """Return rows as a dense array of float64."""
    return dense_rows(values).astype(np.float64, copy=False)
