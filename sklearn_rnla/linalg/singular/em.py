"""Probabilistic principal components of rows with missing entries, in passes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import scipy.sparse as sp

from ..._typing import Array, Int
from ...operators.rows import add_states
from ..dense.anderson import AndersonSteps
from .latent import LatentModel, LatentRows, double, pieces_of


@dataclass
class KnownEntries:
    """What is known of weighted rows.

    Attributes
    ----------
    counts : ndarray of shape (n_features,)
        Weight of the rows that know each feature.
    sums : ndarray of shape (n_features,)
        Weighted sums of what is known.
    histogram : ndarray of shape (n_features + 1,)
        Weight of the rows with so many known entries.
    n_rows : ndarray of int of shape (3,)
        Rows with an entry, of them those of positive weight, and rows without.
    largest : float
        Largest absolute value.
    """

    counts: np.ndarray
    sums: np.ndarray
    histogram: np.ndarray
    n_rows: np.ndarray
    largest: float = 0.0

    @classmethod
    def of(cls, values: Any, weight: Array | float) -> Any:
        """Return what is known of a few rows."""
        known = ~np.isnan(values)
        filled = np.where(known, values, 0.0)
        n_known = known.sum(axis=1)
        some = n_known > 0
        return cls(
            counts=weight @ known,
            sums=weight @ filled,
            histogram=np.bincount(n_known, weight, minlength=values.shape[1] + 1),
            n_rows=np.array([some.sum(), (some & (weight > 0)).sum(), (~some).sum()]),
            largest=float(np.abs(filled).max(initial=0.0)),
        )

    @classmethod
    def of_complete(cls, n_features: int, n_rows: int, weight: Array | float) -> Any:
        """Return what is known of rows without a missing entry, but for the sums."""
        histogram = np.zeros(n_features + 1)
        histogram[-1] = weight
        counts = np.full(n_features, weight)
        return cls(counts, np.zeros(n_features), histogram, np.array([n_rows, n_rows, 0]))

    def __iadd__(self, other: Any) -> Any:
        self.counts = self.counts + other.counts
        self.sums = self.sums + other.sums
        self.histogram = self.histogram + other.histogram
        self.n_rows = self.n_rows + other.n_rows
        self.largest = max(self.largest, other.largest)
        return self

    @property
    def weight(self) -> float:
        """Weight of the rows that have an entry."""
        return float(self.histogram[1:].sum())

    @property
    def n_samples(self) -> int:
        """Number of those rows, weights taken as repetitions."""
        return max(int(self.n_rows[1]), int(self.weight))

    @property
    def mean(self) -> Any:
        """Mean of the known entries of each column, zero where there are none."""
        return self.sums / np.where(self.counts > 0, self.counts, 1.0)

    def noise_freedom(self, k: int) -> float:
        """Return how many numbers k coordinates a row leave free, of those known."""
        n_known = np.arange(len(self.histogram))
        return float(np.maximum(n_known - k, 0) @ self.histogram)

    def most_components(self, center: bool, share: Int = 1) -> int:
        """Return the largest number of components that leaves something to the noise.

        Parameters
        ----------
        center : bool
            Whether there is a mean.
        share : int, default=1
            Least number of free entries for each parameter of the components.

        Returns
        -------
        int
            Less than the number of features; -1 where there is none.
        """
        p = len(self.counts)
        # `noise_freedom` of every k: rows that know at least j entries, over all j above k.
        at_least = self.histogram[::-1].cumsum()[::-1]
        freedom = at_least[:0:-1].cumsum()[::-1]
        k = np.arange(p)
        fits = np.flatnonzero(freedom > share * (k + center) * (p - k))
        return int(fits[-1]) if len(fits) else -1


def fold_known(state: Any, block: Any) -> Any:
    """Fold what is known of the entries: ``[KnownEntries]``."""
    for rows in pieces_of(block.values, 0):
        values = double(block.values[rows])
        state = add_states(state, [KnownEntries.of(values, _weight(block, rows))])
    return state


def _weight(block, rows):
    if block.weight is None:
        return np.ones(rows.stop - rows.start)
    return block.weight[rows].astype(np.float64)


class Expectations(NamedTuple):
    """Expected sums over rows that a step needs, about the mean of a model.

    With ``z`` the latent variables of a row, followed by a one if there is a mean, and
    upper triangles of symmetric matrices of that size.

    Attributes
    ----------
    grams : ndarray of shape (n_features, t)
        Sum of ``z z^T`` over the rows that know a feature.
    crosses : ndarray of shape (n_features, k + 1)
        Sum of ``z`` times the deviation of the feature from the mean.
    counts : ndarray of shape (n_features,)
        Weight of those rows.
    total : ndarray of shape (t,)
        Sum of ``z z^T`` over all rows.
    squares : float
        Sum of the squares of what ``W z`` leaves of the deviations.
    weight : float
        Of the rows.
    log_likelihood : float
    """

    grams: np.ndarray
    crosses: np.ndarray
    counts: np.ndarray
    total: np.ndarray
    squares: float
    weight: float
    log_likelihood: float

    @classmethod
    def of(cls, rows: Any, model: Any, center: bool) -> Any:
        """Return the sums over the rows of a row matrix, in a pass."""
        return cls(*rows.fold(fold_expectations, model, center))

    @classmethod
    def of_model(cls, rows_model: Any, model: Any, known: Array, center: bool) -> Any:
        """Return the sums over rows of which another model is all that is kept.

        Parameters
        ----------
        rows_model : LatentModel
            The rows are taken to have its mean and its covariance.
        model : LatentModel
            Whose latent variables are expected.
        known : KnownEntries
            How many they are.
        center : bool

        Notes
        -----
        With ``z = B (x - mean)`` expected, all is algebra on matrices of k columns.
        """
        W, counts, weight = model.W, known.counts, known.weight
        k = W.shape[1]
        inverse = np.linalg.inv(W.T @ W + model.noise * np.eye(k))
        B = inverse @ W.T
        step = rows_model.mean - model.mean
        # The rows as columns: their mean, and directions of their covariance but noise.
        columns = np.column_stack([rows_model.W, step])
        Z = B @ columns
        crosses = columns @ Z.T + rows_model.noise * B.T
        second = Z @ Z.T + rows_model.noise * B @ B.T + model.noise * inverse
        if center:
            first = Z[:, -1:]
            crosses = np.column_stack([crosses, step])
            second = np.block([[second, first], [first.T, np.ones((1, 1))]])
        rest = columns - W @ Z
        squares = np.einsum("ij,ij->i", rest, rest)
        shared = W @ (rows_model.noise * B @ B.T + model.noise * inverse)
        squares += rows_model.noise - 2 * rows_model.noise * np.einsum("ij,ji->i", W, B)
        squares += np.einsum("ij,ij->i", shared, W)
        second = second[np.triu_indices(k + center)]
        return cls(
            grams=np.outer(counts, second),
            crosses=counts[:, np.newaxis] * crosses,
            counts=counts,
            total=weight * second,
            squares=float(counts @ squares),
            weight=weight,
            log_likelihood=0.0,
        )

    def plus(self, other: Any) -> Any:
        """Return the sums over both, about the same model."""
        return Expectations(*add_states(list(self), other))

    def gradient(self, model: Any, center: bool) -> Any:
        """Return the Gram matrices, and the crosses with what the model leaves."""
        m = self.crosses.shape[1]
        grams = _symmetric(self.grams, m)
        W = _extended(model.W, center)
        return grams, self.crosses - np.einsum("pij,pj->pi", grams, W)


def fold_expectations(state: Any, block: Any, model: Any, center: bool) -> Any:
    """Fold the items of `Expectations`: a step of expectation over the rows."""
    k = model.W.shape[1]
    i, j = np.triu_indices(k + center)
    latent = j < k
    for rows in pieces_of(block.values, k):
        values = double(block.values[rows])
        found = LatentRows.of(values, model)
        n_rows, n_patterns = len(values), len(found.patterns)
        weight = _weight(block, rows) * found.known.any(axis=1)
        Z = _extended(found.means, center, 1.0)
        members = sp.csr_array(
            (weight, (found.which, np.arange(n_rows))), shape=(n_patterns, n_rows)
        )
        weights = np.bincount(found.which, weight, minlength=n_patterns)
        spread = model.noise * found.inverse
        products = members @ (Z[:, i] * Z[:, j])
        products[:, latent] += weights[:, np.newaxis] * spread[:, i[latent], j[latent]]
        squares = float(weight @ np.einsum("ij,ij->i", found.rest, found.rest))
        # Of the posterior covariance, what the known features see of it.
        squares += model.noise * float(weights @ (k - np.trace(spread, axis1=1, axis2=2)))
        part = [
            found.patterns.T @ products,
            (found.deviations * weight[:, np.newaxis]).T @ Z,
            weights @ found.patterns,
            products.sum(axis=0),
            squares,
            float(weight.sum()),
            float(weight @ found.log_likelihood),
        ]
        state = add_states(state, part)
    return state


def _extended(W, center, fill=0.0):
    """Return W with one more column, if there is a mean."""
    return np.concatenate([W, np.full((len(W), int(center)), fill)], axis=1)


def _symmetric(upper, m):
    """Return the symmetric matrices of size m that have these upper triangles."""
    i, j = np.triu_indices(m)
    matrices = np.empty((*upper.shape[:-1], m, m))
    matrices[..., i, j] = matrices[..., j, i] = upper
    return matrices


def maximised(model: Any, sums: Any, center: bool, floor: float) -> Any:
    """Return the model of greatest expected log-likelihood.

    Parameters
    ----------
    model : LatentModel
    sums : Expectations
        Of the rows under it.
    center : bool
    floor : float
        Least variance of the noise.

    Notes
    -----
    Latent variables may have a mean and a covariance, which the mean and the loadings then
    absorb: parameter-expanded EM (Liu, Rubin & Wu 1998).
    """
    k = model.W.shape[1]
    grams, gradient = sums.gradient(model, center)
    known = sums.counts > 0
    step = np.zeros_like(gradient)
    step[known] = np.linalg.solve(grams[known], gradient[known, :, np.newaxis])[..., 0]
    noise = (sums.squares - float(np.sum(step * gradient))) / sums.counts.sum()
    W = model.W + step[:, :k]
    second = _symmetric(sums.total, k + center) / sums.weight
    first, mean = np.zeros(k), model.mean
    if center:
        first = second[:k, k]
        mean = mean + step[:, k] + W @ first
    values, U = np.linalg.eigh(second[:k, :k] - np.outer(first, first))
    W = W @ (U * np.sqrt(np.maximum(values, 0.0))) @ U.T
    return LatentModel(W, mean, max(noise, floor))


class _Coordinates:
    """Models as vectors: times the root of how often a column is known."""

    def __init__(self, counts):
        self._root = np.sqrt(np.where(counts > 0, counts, 1.0))[:, np.newaxis]
        self._noise_root = np.sqrt(counts.sum() / 2)

    def of(self, model):
        both = self._root * np.column_stack([model.W, model.mean])
        return np.append(both, self._noise_root * np.log(model.noise))

    def model(self, x):
        both = x[:-1].reshape(len(self._root), -1) / self._root
        return LatentModel(both[:, :-1], both[:, -1], np.exp(x[-1] / self._noise_root))

    def in_standard_errors(self, model):
        """Return what coordinates near a model are multiplied by to be in such units."""
        scale = np.full(model.W.size + len(model.mean) + 1, model.noise**-0.5)
        scale[-1] = 1.0
        return scale


class EMFit(NamedTuple):
    """Outcome of the iteration.

    Attributes
    ----------
    model : LatentModel
    sums : Expectations
        Of the last step.
    error_estimate : float
        How far the log-likelihood is from its maximum, for each parameter.
    converged : bool
    """

    model: LatentModel
    sums: Expectations
    error_estimate: float
    converged: bool


def iterate(
    rows: Any,
    model: Any,
    *,
    center: bool,
    tol: float,
    max_steps: int,
    floor: float,
    report: Callable[[], bool] | None = None,
) -> tuple[Array, int, float, bool]:
    """Maximise the likelihood of what is known of rows, from a model.

    Parameters
    ----------
    rows : RowMatrix
    model : LatentModel
    center : bool
        Whether there is a mean.
    tol : float
        Stop once the log-likelihood is estimated to be within this of its maximum, for each
        parameter: where errors are a small part of standard errors.
    max_steps : int
        Passes over the rows.
    floor : float
        Least variance of the noise.
    report : callable, default=None
        Called after each; returns whether to stop.

    Returns
    -------
    EMFit

    Notes
    -----
    Expectation maximisation for the model of Tipping & Bishop (1999) with missing entries:
    of a feature, rows count that know it. Steps are parameter-expanded, and combined by
    Anderson acceleration, whose steps say how far the maximum is: half the product of the
    plain step, which is the gradient in units of standard errors, and the accelerated one.
    A combination that turns out to have a lower likelihood is taken back.
    """
    accelerate, best, plain = AndersonSteps(), 0.0, None
    for step in range(max_steps):
        sums = Expectations.of(rows, model, center)
        last = step == max_steps - 1 or (report is not None and report())
        gain = sums.log_likelihood - best if step else 0.0
        if gain < 0 and plain is not None and not last:
            model, plain = plain, None
            accelerate.forget()
            continue
        best, plain = sums.log_likelihood, maximised(model, sums, center, floor)
        coordinates = _Coordinates(sums.counts)
        scale = coordinates.in_standard_errors(model)
        x = coordinates.of(model)
        f = coordinates.of(plain) - x
        d = accelerate(x, f, scale)
        # Before the iteration converges linearly, its gains say more than its steps.
        deficit = max(abs(float((scale * f) @ (scale * d))) / 2, gain)
        error = deficit / _n_parameters(model, center)
        # Without noise the likelihood has no maximum: the rows are of that rank.
        converged = plain.noise <= floor or (step > 0 and error <= tol)
        if last or converged:
            break
        model = coordinates.model(x + d)
    return EMFit(plain, sums, error, converged)


def distance(model: Any, to: Any, sums: Any, center: bool) -> float:
    """Return the gain in log-likelihood of a plain step, for each parameter."""
    coordinates = _Coordinates(sums.counts)
    step = coordinates.of(to) - coordinates.of(model)
    step *= coordinates.in_standard_errors(model)
    return float(step @ step) / 2 / _n_parameters(model, center)


def _n_parameters(model, center):
    p, k = model.W.shape
    return p * k - k * (k - 1) // 2 + center * p + 1
