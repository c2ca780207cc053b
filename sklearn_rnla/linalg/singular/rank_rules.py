"""Rules that choose how many singular values to keep."""

from numbers import Integral
from typing import Any

import numpy as np
from scipy.special import gammaln

from ..._typing import Array


def rank_rule(n_components: float | str | None, shape: tuple[Any, ...]) -> Any:
    """Return the rule that `n_components` stands for.

    Parameters
    ----------
    n_components : int, float, "gavish-donoho", "mle" or None
        A number, a share of the variance, a threshold, the most probable number, or all.
    shape : tuple of int
        Of the matrix; rows of None are not known yet.

    Returns
    -------
    callable
        See `FixedRank`.

    Raises
    ------
    ValueError
        When a number exceeds the shape, or for "mle" of fewer rows than columns.
    """
    n_samples, n_features = shape
    most = n_features if n_samples is None else min(shape)
    if n_components is None:
        return WholeSpectrum(most) if n_samples is None else FixedRank(most)
    if n_components == "mle":
        if n_samples is not None and n_samples < n_features:
            raise ValueError(
                f"n_components='mle' needs as many samples as features: n_samples="
                f"{n_samples} is less than n_features={n_features}."
            )
        return MinkaRank()
    if isinstance(n_components, str):
        return GavishDonoho()
    if not isinstance(n_components, Integral):
        return VarianceFraction(n_components)
    if n_components > most:
        limit = f"n_features={n_features}"
        if n_samples is not None:
            limit = f"min(n_samples={n_samples}, {limit})"
        raise ValueError(f"n_components={n_components} must be at most {limit}.")
    return FixedRank(int(n_components))


class FixedRank:
    """Keep a given number."""

    def __init__(self, k: int) -> None:
        self.first_guess = k

    def __call__(self, s: Array, squared_norm: float, shape: tuple[int, ...]) -> int:
        """Return the number to keep, or None where `s` does not reach far enough."""
        return self.first_guess


class WholeSpectrum(FixedRank):
    """Keep a given number, or as many as there turn out to be rows."""

    def __call__(self, s: Array, squared_norm: float, shape: tuple[int, ...]) -> int:
        """Return the number to keep."""
        return min(self.first_guess, *shape)


class VarianceFraction:
    """Keep the fewest whose squares exceed a fraction of the squared Frobenius norm."""

    first_guess = 24

    def __init__(self, fraction: float) -> None:
        self.fraction = fraction

    def __call__(self, s: Array, squared_norm: float, shape: tuple[int, ...]) -> int | None:
        """Return the number to keep, or None where `s` does not reach far enough."""
        if squared_norm == 0:
            return 1
        captured = np.cumsum(s**2)
        # Sums of all the squares may fall short of the norm by their rounding.
        if len(s) == min(shape):
            captured = captured / captured[-1] * squared_norm
        k = int(np.searchsorted(captured, self.fraction * squared_norm, "right")) + 1
        return k if k <= len(s) else None


def known_noise_threshold(shape: tuple[int, ...]) -> float:
    """Return lambda(beta) of Gavish & Donoho (2014, equation 11).

    Singular values of an n x m matrix, m <= n, with noise of standard deviation sigma
    are kept above ``lambda sqrt(n) sigma``.
    """
    beta = min(shape) / max(shape)
    root = np.sqrt(beta**2 + 14 * beta + 1)
    return float(np.sqrt(2 * (beta + 1) + 8 * beta / (beta + 1 + root)))


def marchenko_pastur_median(beta: float) -> float:
    """Return the median of the Marchenko-Pastur law with ratio `beta` in (0, 1]."""
    low, high = (1 - np.sqrt(beta)) ** 2, (1 + np.sqrt(beta)) ** 2
    # x = middle + radius cos(angle) makes the density smooth at both edges.
    angle = np.linspace(0, np.pi, 20001)
    x = (low + high) / 2 - (high - low) / 2 * np.cos(angle)
    with np.errstate(divide="ignore", invalid="ignore"):
        density = np.sin(angle) ** 2 / x
    if low == 0:
        density[0] = 2 * density[1] - density[2]
    mass = np.concatenate([[0.0], np.cumsum((density[1:] + density[:-1]) / 2)])
    return float(np.interp(mass[-1] / 2, mass, x))


class GavishDonoho:
    """Keep the singular values above the optimal hard threshold of Gavish & Donoho.

    With the whole spectrum the noise level comes from its median; with leading singular
    values only, from the mean square of what they leave.
    """

    first_guess = 24

    def __call__(self, s: Array, squared_norm: float, shape: tuple[int, ...]) -> int | None:
        """Return the number to keep, or None where `s` does not reach far enough."""
        small, large = min(shape), max(shape)
        factor = known_noise_threshold(shape)
        if len(s) == small:
            noise = np.median(s) / np.sqrt(marchenko_pastur_median(small / large))
        else:
            rest = max(0.0, squared_norm - float(np.sum(s**2)))
            noise = np.sqrt(rest / (small - len(s)))
        k = int(np.count_nonzero(s > factor * noise))
        if k == len(s) < small:
            return None
        return max(1, k)


class MinkaRank:
    """Keep the number of components that is most probable given the data.

    Minka (2000), "Automatic choice of dimensionality for PCA": Laplace's approximation of
    the evidence of probabilistic PCA, from the whole spectrum.
    """

    first_guess = 2**62

    def __call__(self, s: Array, squared_norm: float, shape: tuple[int, ...]) -> int | None:
        """Return the number to keep, or None where `s` is not the whole spectrum."""
        n_samples, n_features = shape
        if len(s) < n_features or n_samples < n_features:
            return None
        evidences = [log_evidence(s**2, k, n_samples) for k in range(1, n_features)]
        return 1 + int(np.argmax(evidences)) if evidences else 1


def log_evidence(spectrum: Array, k: int, n_samples: int) -> float:
    """Return Laplace's approximation of the evidence of k components (Minka, eq. 30).

    Parameters
    ----------
    spectrum : ndarray of shape (n_features,)
        Eigenvalues of the covariance matrix, decreasing, in any unit.
    k : int
        Less than n_features.
    n_samples : int
    """
    n, floor = len(spectrum), np.finfo(np.float64).eps ** 2 * spectrum[0]
    if spectrum[k - 1] <= floor:
        return -np.inf
    # Values that are zero are taken as rounding, as they are found to be now and then.
    spectrum = np.maximum(spectrum, floor)
    i = np.arange(1, k + 1)
    prior = gammaln((n - i + 1) / 2) - np.log(np.pi) * (n - i + 1) / 2
    noise = float(spectrum[k:].sum()) / (n - k)
    likelihood = np.log(spectrum[:k]).sum() + (n - k) * np.log(noise)
    n_free = n * k - k * (k + 1) / 2
    model = np.append(spectrum[:k], np.full(n - k, noise))
    left, right = np.triu_indices(k, 1, n)
    gaps = (spectrum[left] - spectrum[right]) * (1 / model[right] - 1 / model[left])
    with np.errstate(divide="ignore"):
        curvature = np.log(gaps).sum() + len(left) * np.log(n_samples)
    return float(
        prior.sum()
        - k * np.log(2)
        - n_samples / 2 * likelihood
        + np.log(2 * np.pi) * (n_free + k) / 2
        - curvature / 2
        - k * np.log(n_samples) / 2
    )
