"""Right singular vectors of a row matrix: which algorithm, how many, how wide a block."""

from __future__ import annotations

import math

import numpy as np

from .gram import gram_svd
from .krylov import block_krylov
from .orth import complete_rows
from .rank import FixedRank
from .start import PairedSample, coarse_start, sketched_start

# The block is as wide as a multiple of this: BLAS kernels waste the remainder.
_WIDTH_MULTIPLE = 16
_LEAST_OVERSAMPLES = 8

# A row sample is this share of the rows, within bounds.
_SAMPLE_SHARE = 0.05
_SAMPLE_ROWS = 20_000

# Largest Gram matrix that is formed unasked, in rows.
_LARGEST_GRAM = 8_000

# What an iteration costs beside its products: samples, small eigenproblems, Python.
_PASS_OVERHEAD = 3e8


def block_width(k, n_oversamples, shape) -> int:
    """Return the number of vectors iterated for k wanted ones."""
    if n_oversamples is None:
        width = -(-(k + _LEAST_OVERSAMPLES) // _WIDTH_MULTIPLE) * _WIDTH_MULTIPLE
    else:
        width = k + n_oversamples
    return max(k, min(width, *shape))


def sample_rows(n_rows, width) -> int:
    """Return the number of rows in a sample of `n_rows` rows; 0 where they are too few."""
    wanted = max(4 * width, min(int(_SAMPLE_SHARE * n_rows), _SAMPLE_ROWS))
    return wanted if wanted <= n_rows // 4 else 0


def pass_cost(rows, width) -> float:
    """Return the cost of a fused pass, in flops at the peak of a square product."""
    if rows.sparse:
        # Bound by memory: a few per cent of peak.
        return _PASS_OVERHEAD + 4 * rows.nnz * width * 30
    efficiency = width / (width + 48)
    return _PASS_OVERHEAD + 4 * rows.shape[0] * rows.shape[1] * width / efficiency


def gram_cost(rows) -> float:
    """Return the cost of the exact solution, in the same unit."""
    n_rows, n_features = rows.shape
    small = min(n_rows, n_features)
    eigen = 30 * small**3
    if not rows.sparse or n_rows < n_features:
        return 1.4 * n_rows * n_features * small + eigen
    return 450 * rows.nnz**2 / max(1, n_rows) + eigen


def pass_budget(A, width, limit) -> float:
    """Return after how many passes the exact solution would have been cheaper.

    Infinity where it does not work; 0 where no iteration is worth beginning.
    """
    if limit > _LARGEST_GRAM or not _fits_gram(A):
        return np.inf
    budget = math.ceil(gram_cost(A.rows) / pass_cost(A.rows, width))
    return 0 if budget <= 2 or width > limit // 2 else budget


def right_svd(
    A,
    rule,
    *,
    algorithm="auto",
    tol=1e-3,
    max_passes=20,
    n_oversamples=None,
    sketch="row_sampling",
    rng,
    report=None,
):
    """Compute leading right singular vectors of `A`.

    Parameters
    ----------
    A : CenteredMatrix
    rule : callable
        ``rule(s, squared_norm, shape)`` returns how many of the singular values `s` to
        keep, or None for more; its ``first_guess`` is computed first.
    algorithm : {"auto", "krylov", "subspace", "gram"}
        "auto" is the cheaper of Krylov iteration and the exact solution by a count of
        flops; an iteration that has cost as much as the exact solution would is left for
        it.
    tol, max_passes, n_oversamples, report
        See `block_krylov` and `block_width`.
    sketch : str
        What the iteration starts from: "row_sampling" is `coarse_start`, the name of a
        distribution `sketched_start`.
    rng : Generator
        Source of all randomness.

    Returns
    -------
    k : int
        How many to keep.
    RightSVD
        Of k triplets or more.
    """
    limit = A.shape[1] if A.shape[0] is None else min(A.shape)
    fixed = isinstance(rule, FixedRank)
    # A fixed rank may exceed the rows, where weights stand for repetitions.
    k = rule.first_guess if fixed else min(rule.first_guess, limit)
    start = None
    budget = np.inf
    while algorithm != "gram":
        width = block_width(k, n_oversamples, A.shape)
        if algorithm == "auto":
            budget = pass_budget(A, width, limit)
            if not budget:
                break
        sample = None
        n_rows = sample_rows(A.shape[0], width)
        if start is not None:
            start = complete_rows(start[:width], width, rng)
        elif sketch == "row_sampling" and n_rows:
            start = coarse_start(A, width, n_rows=n_rows, rng=rng)
        else:
            by = "gaussian" if sketch == "row_sampling" else sketch
            start = sketched_start(A, width, by, rng=rng)
        indices = A.draw_rows(n_rows, rng)
        # Fewer come where most weights are zero.
        if len(indices) >= 4 * width:
            sample = PairedSample(A, rng.permutation(indices))
        result = block_krylov(
            A,
            start,
            k,
            tol=tol,
            max_passes=min(max_passes, budget),
            sample=sample,
            subspace=algorithm == "subspace",
            report=report,
        )
        gave_up = result.stalled and np.isfinite(budget)
        if not result.converged and (budget < max_passes or gave_up):
            break
        s = result.singular_values[:k]
        kept = rule(s, A.moments.squared_norm, A.shape)
        if kept is not None or k == limit:
            V = complete_rows(result.components, k, rng)
            s = np.concatenate([s, np.zeros(max(0, len(V) - len(s)))])
            return kept or k, result._replace(singular_values=s, components=V[:k])
        start, k = result.components, min(2 * k, limit)
    result = gram_svd(A, k if fixed else limit, rng=rng)
    shape = (A.rows.n_samples, A.shape[1])
    s = np.zeros(min(shape))
    s[: len(result.singular_values)] = result.singular_values[: len(s)]
    return rule(s, A.moments.squared_norm, shape), result


def _fits_gram(A):
    """Whether the exact solution works on this source without a dense copy of it."""
    n_rows, n_features = A.shape
    if n_rows >= n_features:
        return True
    return hasattr(A.rows, "values") and n_rows * n_features <= 2**27
