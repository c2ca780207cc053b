"""Principal components of rows with missing entries: start, number, and results."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..._random import stream
from ..._refusals import is_plainly_finite
from ...operators import Moments, as_row_matrix
from ...operators.scaling import exponent_of
from ..dense.orth import complete_rows, orthonormal_rows
from .em import EMFit, Expectations, KnownEntries, distance, fold_known, iterate, maximised
from .gram import RightSVD
from .latent import LEAST_NOISE, LatentModel, double
from .principal_components import components_of
from .rank_rules import FixedRank

# The start is found on a sample of so many rows, or of this share of them if that is more,
# up to a limit, in at most so many steps.
_SAMPLE_ROWS, _SAMPLE_SHARE, _SAMPLE_STEPS = 4096, 0.05, 200
_MOST_SAMPLE_ROWS, _LOOSE_STEPS = 20_000, 30

# Entries outside of this range and its inverse are taken in another unit; no variance of
# the noise is below what their squares may be.
_RANGE, _LEAST_SQUARE = 1e40, 1e-100

# Vectors beside those wanted, and their products with the Gram matrix, of the start; the
# least share of the variance that is noise there.
_EXTRA, _POWERS, _LEAST_SHARE = 4, 4, 0.01

# Known entries, beyond those that coordinates fit, for each parameter of components whose
# number is not given.
_ENTRIES_PER_PARAMETER = 2

# Steps of a batch, beside what is known of those before.
_BATCH_STEPS = 20


@dataclass(frozen=True)
class LatentSummary:
    """What is kept of rows with missing entries: their model, and what it is worth.

    Attributes
    ----------
    model : LatentModel
        In the unit of ``2**exponent``.
    known : KnownEntries
    floor : float
        Least variance of the noise.
    """

    model: LatentModel
    known: KnownEntries
    floor: float

    @property
    def n_rows(self) -> int:
        """Rows with an entry."""
        return int(self.known.n_rows[0])

    @property
    def n_empty(self) -> int:
        """Rows without, which are left out."""
        return int(self.known.n_rows[2])

    def supports(self, rule: Any) -> bool:
        """Whether more rows can be added, for as many components."""
        p, k = self.model.W.shape
        return isinstance(rule, FixedRank) and min(rule.first_guess, p - 1) <= k

    @classmethod
    def of_complete(cls, summary: Any, k: int) -> Any:
        """Return the summary that stands for a `RowSummary`, with k components."""
        p, weight = len(summary.mean), summary.total_weight
        k, triplets = summary.right_svd(FixedRank(min(k, p - 1)))
        variances = triplets.singular_values**2 / weight
        total = summary.squared_norm / weight
        floor = _floor(total / p)
        noise = max((total - float(variances.sum())) / (p - k), floor)
        W = triplets.components.T * np.sqrt(np.maximum(variances - noise, 0.0))
        known = KnownEntries.of_complete(p, summary.n_rows, weight)
        return cls(LatentModel(W, summary.mean, noise), known, floor)


def leading_complete(blocks: Any, first_with_gaps: int) -> Any:
    """Yield the values of blocks as long as they are complete.

    The first block that is not is appended to the list `first_with_gaps`.
    """
    for block in blocks:
        if not is_plainly_finite(block.values):
            first_with_gaps.append(block)
            return
        yield block.values


def _floor(variance):
    return max(LEAST_NOISE * variance, _LEAST_SQUARE)


def missing_components(
    rows: Any,
    rule: Any,
    *,
    center: bool,
    tol: float,
    max_passes: int,
    rng: np.random.Generator,
    report: Callable[[], bool],
) -> Any:
    """Compute leading principal components of rows with missing entries.

    Parameters
    ----------
    rows : RowMatrix
        Rereadable; NaN where missing.
    rule : callable
        See `rank_rule`.
    center : bool
        Whether the centre is the mean.
    tol : float
        See `iterate`.
    max_passes : int
        Passes over the rows of each iteration.
    rng : Generator
        Draws the sample that the start is found on.
    report : callable
        Called after each pass; returns whether to stop.

    Returns
    -------
    PrincipalComponents
    LatentSummary
    n_passes : int

    Raises
    ------
    ValueError
        When a feature has no known entry, when one is infinite, or when those known leave
        nothing to the noise of so many components.

    Notes
    -----
    A number that is not given is found as without missing entries, from the variances of
    twice as many components until there are enough, and of those the likelihood is then
    maximised. The whole spectrum is that of as many components as there are two known
    entries for each parameter of; in all other directions the variance is that of the
    noise.
    """
    n_passes = _Counter(report)
    rows, known = _known_entries(rows, n_passes)
    p, most = rows.shape[1], known.most_components(center)
    if most < 0:
        raise ValueError("X has too few known entries to tell a variance from.")
    whole = min(known.n_samples, p)
    determined = max(0, known.most_components(center, _ENTRIES_PER_PARAMETER))
    wanted, model = rule.first_guess, None
    while True:
        is_number = isinstance(rule, FixedRank) and wanted < whole
        if is_number and wanted > most:
            raise ValueError(
                f"n_components={wanted} leaves no known entry of X to tell the noise from: "
                f"with so many missing it must be at most {most}."
            )
        k = min(wanted, most if is_number else determined)
        if model is None or k > model.W.shape[1]:
            model, floor = _start(rows, known, k, center=center, tol=tol, rng=rng)
        fit = iterate(
            rows,
            _leading(model, k),
            center=center,
            tol=tol,
            max_steps=max_passes,
            floor=floor,
            report=n_passes,
        )
        model = fit.model
        n_told = k if is_number or k < determined else whole
        squares = known.weight * _spectrum(model, n_told)[0]
        total = float(squares.sum()) + known.weight * model.noise * (p - n_told)
        n_kept = rule(np.sqrt(squares), total, (known.n_samples, p))
        if n_kept is None and n_told == whole:
            raise ValueError(f"X has {known.n_samples} samples with an entry: too few.")
        if n_kept is None:
            wanted = 2 * k
        elif n_kept < k:
            wanted, rule = n_kept, FixedRank(n_kept)
        else:
            break
    summary = LatentSummary(model, known, floor)
    return _components(summary, n_kept, fit, center, rows), summary, n_passes.total


class _Counter:
    """Counts passes, and tells of them."""

    def __init__(self, report):
        self.total = 0
        self._report = report

    def __call__(self):
        self.total += 1
        return self._report()


def _known_entries(rows, report):
    """Return rows in a unit in which they can be squared, and what is known of them."""
    while True:
        (known,) = rows.fold(fold_known)
        report()
        largest = known.largest
        if not np.isfinite(largest):
            raise ValueError("Input X contains infinity.")
        if largest == 0 or 1 / _RANGE < largest < _RANGE:
            break
        rows = rows.in_unit(rows.exponent + exponent_of(largest))
    empty = np.flatnonzero(known.counts == 0)
    if len(empty):
        some = ", ".join(map(str, empty[:5])) + ", ..." * (len(empty) > 5)
        raise ValueError(
            f"X has no known entry in {len(empty)} of its {rows.shape[1]} features "
            f"(columns {some}): leave them out."
        )
    return rows, known


def _start(rows, known, k, *, center, tol, rng):
    """Return a model to start from, and the least variance of its noise.

    That of greatest likelihood on a sample of the rows, from the principal components of
    the sample with its gaps filled by the mean.
    """
    n, p = rows.shape
    size = min(max(_SAMPLE_ROWS, int(_SAMPLE_SHARE * n)), _MOST_SAMPLE_ROWS)
    if n > size:
        rows = rows.take(np.sort(rng.choice(n, size, replace=False)))
    values, weight = double(rows.in_memory()), rows.weight
    mean = known.mean if center else np.zeros(p)
    filled = np.nan_to_num(values - mean)
    if weight is not None:
        filled *= np.sqrt(weight.astype(np.float64))[:, np.newaxis]
    total = len(values) if weight is None else float(weight.sum(dtype=np.float64))
    # Gaps that are filled take that share of products and squares.
    total *= float(known.counts.sum()) / (p * known.weight)
    variance = float(np.sum(filled**2)) / total
    # With more components than are wanted it passes by maxima that are only local.
    n_loose = max(k, min(k + _EXTRA, known.most_components(center, _ENTRIES_PER_PARAMETER)))
    V = orthonormal_rows(rng.standard_normal((min(n_loose + _EXTRA, p), p)))
    for _ in range(_POWERS):
        V = orthonormal_rows((V @ filled.T) @ filled)
    _, s, rotation = np.linalg.svd(filled @ V.T, full_matrices=False)
    V = complete_rows(rotation @ V, n_loose, rng)[:n_loose]
    variances = np.append(s**2, np.zeros(n_loose))[:n_loose] / total
    noise = max((variance - float(variances.sum())) / p, _LEAST_SHARE * variance / p)
    floor = _floor(variance / p)
    noise = max(noise, floor)
    W = V.T * np.sqrt(np.maximum(variances - noise, noise))
    model = LatentModel(W, mean, noise)
    sample = as_row_matrix(values)
    if weight is not None:
        sample = sample.with_weight(weight)
    for n_steps in (_LOOSE_STEPS, _SAMPLE_STEPS):
        fit = iterate(
            sample,
            model,
            center=center,
            tol=tol,
            max_steps=n_steps,
            floor=floor,
        )
        model = _leading(fit.model, k)
    return model, floor


def _leading(model, k):
    """Return the model with the leading k of its latent variables."""
    if k == model.W.shape[1]:
        return model
    U, s, _ = np.linalg.svd(model.W, full_matrices=False)
    noise = model.noise + float(np.sum(s[k:] ** 2)) / (len(U) - k)
    return LatentModel(U[:, :k] * s[:k], model.mean, noise)


def _spectrum(model, k):
    """Return the leading k variances of a model, and their directions as rows."""
    U, s, _ = np.linalg.svd(model.W, full_matrices=False)
    variances = np.append(s**2, np.zeros(max(0, k - len(s))))[:k] + model.noise
    return variances, complete_rows(np.ascontiguousarray(U.T), k, stream(0))[:k]


def _components(summary, k, fit, center, rows):
    """Return the results that a fit stands for."""
    model, known = summary.model, summary.known
    p = len(model.mean)
    variances, V = _spectrum(model, k)
    weight = known.weight
    total = weight * (float(variances.sum()) + (p - k) * model.noise)
    moments = Moments.at_mean(weight, model.mean, total)
    if not center:
        moments = Moments(weight, weight * known.mean, total)
    triplets = RightSVD(
        np.sqrt(weight * variances),
        V,
        error_estimate=fit.error_estimate,
        converged=fit.converged,
    )
    found = components_of(
        k,
        triplets,
        moments,
        known.n_samples,
        center=center,
        dtype=rows.dtype,
        exponent=rows.exponent,
    )
    if k == p:
        return found
    noise = model.noise * _noise_correction(known, k, center)
    return found._replace(
        noise=noise, noise_variance=float(np.ldexp(noise, 2 * rows.exponent))
    )


def _noise_correction(known, k, center):
    """Return what the variance of the noise is to be multiplied by.

    The likelihood's is too small by the degrees of freedom of the components. Of complete
    rows those of the mean count, as everywhere; what more they take of fewer entries counts
    too.
    """
    p, weight = len(known.counts), known.weight
    free = known.noise_freedom(k)
    taken = (k + center) * (p - k)
    return free / (free - taken) * (weight - k - center) / (weight - center)


def updated_with_missing(
    rows: Any, rule: Any, *, center: bool, tol: float, before: Any
) -> Any:
    """Compute leading principal components of rows added to those of a summary.

    Parameters
    ----------
    rows : RowMatrix
        Rereadable, in the unit of the summary; NaN where missing.
    rule : FixedRank
    center : bool
    tol : float
        See `iterate`.
    before : LatentSummary
        Of no fewer components.

    Returns
    -------
    PrincipalComponents
    LatentSummary

    Notes
    -----
    Expectation maximisation on the new rows, where those before count as so many rows that
    are as their model says. So they pull to it by what they are worth.
    """
    (known,) = rows.fold(fold_known)
    if not np.isfinite(known.largest):
        raise ValueError("Input X contains infinity.")
    p = rows.shape[1]
    first = model = _leading(before.model, min(rule.first_guess, p - 1))
    seen, most = before.known, before.known.most_components(center)
    if model.W.shape[1] > most:
        raise ValueError(
            f"n_components={rule.first_guess} must be at most {most}: the batches before "
            "have too few known entries to go on from. Begin with a larger one."
        )
    for _ in range(_BATCH_STEPS):
        sums = Expectations.of(rows, model, center)
        sums = sums.plus(Expectations.of_model(first, model, seen, center))
        last, model = model, maximised(model, sums, center, before.floor)
        error = distance(last, model, sums, center)
        if error <= tol:
            break
    known += seen
    summary = LatentSummary(model, known, before.floor)
    fit = EMFit(model, sums, error, error <= tol)
    return _components(summary, rule.first_guess, fit, center, rows), summary
