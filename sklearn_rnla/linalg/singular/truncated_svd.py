"""Leading singular vectors: which algorithm, how many, how wide a block."""

import math
from typing import NamedTuple

import numpy as np

from ...operators.sources import SparseRows
from ..dense.orth import complete_rows
from ..dense.rank import numerical_rank
from ..dense.ritz import MAX_BLOCKS, descending_eigh
from .block_krylov import block_krylov
from .deflation import deflated_svd
from .filtered_subspace import filtered_subspace
from .gram import gram_svd, refine_values, squaring_loses, subset_share
from .rank_rules import FixedRank
from .row_gram import WideSparse, row_gram_cost
from .starts import draw_sample, draw_start, power_start, sample_rows
from .two_sided_krylov import two_sided_krylov

# The block is as wide as a multiple of this: BLAS kernels waste the remainder, sparse
# products that of half as many.
_WIDTH_MULTIPLE = 16
_LEAST_OVERSAMPLES = 8

# A sample that is more than this share of the rows saves nothing.
_LARGEST_SAMPLE = 0.25

# A sample of at most this share of the rows costs less than a pass, where products are
# most of its cost.
_CHEAP_SAMPLE = 0.06

# Most memory for the basis of an iteration on both sides, in units of that of the matrix.
_LARGEST_BASIS = 2

# Largest Gram matrix that is formed unasked, in rows.
_LARGEST_GRAM = 8_000

# What an iteration costs beside its products: samples, small eigenproblems, Python.
_PASS_OVERHEAD = 3e8


def block_width(k, n_oversamples, shape, multiple=_WIDTH_MULTIPLE) -> int:
    """Return the number of vectors iterated for k wanted ones."""
    k = int(k)  # of whatever integer type, which may be too narrow for a sum
    if n_oversamples is None:
        width = -(-(k + _LEAST_OVERSAMPLES) // multiple) * multiple
    else:
        width = k + int(n_oversamples)
    return max(k, min(width, *shape))


def iterates_on_rows(rows) -> bool:
    """Whether an iteration works on vectors of n_rows entries, not of n_features.

    That takes twice the passes, as there is no row sample to start from.
    """
    return isinstance(rows, SparseRows) and 2 * rows.shape[0] <= rows.shape[1]


def pass_cost(rows, width, filtered=False) -> float:
    """Return the cost of a fused pass, in flops at the peak of a square product."""
    if filtered:
        # Products of the vectors with a square matrix, three on this side and one on the
        # other, and its eigenproblem.
        n_rows, n_features = rows.shape
        side, other = (
            (n_rows, n_features) if iterates_on_rows(rows) else (n_features, n_rows)
        )
        dense = (12 * side + 3 * other) * width**2 + 100 * width**3
        return _PASS_OVERHEAD / 2 + _sparse_product(rows, width) + dense
    # Orthogonalisation is what many features cost: twice against three blocks, and the
    # Ritz vectors, at two thirds of peak.
    orthogonal = 60 * rows.shape[0 if iterates_on_rows(rows) else 1] * width**2
    # Sparse products are bound by memory: a few per cent of peak.
    factor = 30 if rows.sparse else (width + 48) / width
    return _PASS_OVERHEAD + 4 * rows.nnz * width * factor + orthogonal


def _sparse_product(rows, width):
    """Return the cost of both products of a pass over sparse rows."""
    return 8 * 4 * rows.nnz * width


def _sample_is_cheap(rows, width):
    """Whether an iteration on a sample of sparse rows costs less than a pass over all."""
    if sample_rows(rows.shape[0], width) > _CHEAP_SAMPLE * rows.shape[0]:
        return False
    return pass_cost(rows, width, filtered=True) < 1.5 * _sparse_product(rows, width)


def gram_cost(rows, k) -> float:
    """Return the cost of the exact solution for k triplets, in the same unit."""
    n_rows, n_features = rows.shape
    small = min(n_rows, n_features)
    # All eigenvectors take 12 small^3 in one thread, and gain little from more of them.
    eigen = 20 * subset_share(k, small) * small**3
    if rows.sparse and n_rows < n_features:
        return row_gram_cost(rows) + eigen
    if not rows.sparse:
        return 1.4 * n_rows * n_features * small + eigen
    return 450 * rows.nnz**2 / max(1, n_rows) + eigen


def pass_budget(A, k, width, filtered=False) -> float:
    """Return after how many passes the exact solution would have been cheaper.

    Infinity where it does not work; 0 where no iteration is worth beginning.
    """
    limit = _most_values(A)
    if limit > _LARGEST_GRAM or not _fits_gram(A):
        return np.inf
    budget = gram_cost(A.rows, k) / pass_cost(A.rows, width, filtered)
    # What an iteration takes at least, with its start.
    fewest = 4 if filtered else 2.25
    return 0 if budget <= fewest or width > limit // 2 else math.ceil(budget)


class Settings(NamedTuple):
    """What an iteration is told.

    Attributes
    ----------
    algorithm : {"auto", "krylov", "subspace", "gram"}
        "auto" is the cheaper of iteration and the exact solution by a count of flops; an
        iteration that has cost as much as the exact solution would is left for it.
    tol, max_passes
        See `block_krylov`.
    n_oversamples : int or None
        See `block_width`.
    sketch : str
        What the iteration starts from: "row_sampling" is `coarse_start`, the name of a
        distribution `sketched_start`. Of wide sparse rows, the start is Gaussian.
    """

    algorithm: str = "auto"
    tol: float = 1e-3
    max_passes: int = 20
    n_oversamples: int | None = None
    sketch: str = "row_sampling"


class Plan(NamedTuple):
    """An iteration, and what it may cost.

    Attributes
    ----------
    width : int
        Vectors iterated; 0 is the exact solution at once.
    max_passes : int
        Most passes that are allowed.
    budget : float
        Passes after which the exact solution would have been cheaper, see `pass_budget`.
    filtered : bool
        Whether to try `filtered_subspace` first.
    """

    width: int
    max_passes: int
    budget: float
    filtered: bool = False

    @property
    def n_passes(self) -> int:
        """Most passes to make; 0 where no iteration is worth beginning."""
        return int(min(self.max_passes, self.budget))

    def abandons(self, *, converged, stalled) -> bool:
        """Whether the exact solution is to follow on what the iteration has come to.

        An iteration that is not worth more passes has not failed where the user's limit
        ended it: then its result is what was asked for.
        """
        over_budget = self.budget < self.max_passes
        return not converged and (over_budget or (stalled and np.isfinite(self.budget)))


def choose(A, k, settings) -> Plan:
    """Choose between iteration and the exact solution by a count of flops.

    Ski rental: an iteration whose passes are not known in advance is left once it has cost
    what the exact solution does, so that both together cost at most twice the better one.
    """
    max_passes, automatic = settings.max_passes, settings.algorithm == "auto"
    if settings.algorithm == "gram":
        return Plan(width=0, max_passes=max_passes, budget=0)
    # It starts from a pass over all rows or a sample of them, not from a sketch.
    filtered = automatic and settings.sketch == "row_sampling" and max_passes > 1
    filtered = filtered and isinstance(A.rows, SparseRows)
    multiple = _WIDTH_MULTIPLE // 2 if filtered else _WIDTH_MULTIPLE
    width = block_width(k, settings.n_oversamples, A.shape, multiple)
    budget = pass_budget(A, k, width, filtered) if automatic else np.inf
    return Plan(width=width, max_passes=max_passes, budget=budget, filtered=filtered)


def right_svd(A, rule, settings=Settings(), *, rng):  # noqa: B008
    """Compute leading right singular vectors of `A`.

    Parameters
    ----------
    A : CenteredMatrix
    rule : callable
        ``rule(s, squared_norm, shape)`` returns how many of the singular values `s` to
        keep, or None for more; its ``first_guess`` is computed first.
    settings : Settings
    rng : Generator
        Source of all randomness.

    Returns
    -------
    k : int
        How many to keep.
    RightSVD
        Of k triplets or more.
    """
    limit = _most_values(A)
    fixed = isinstance(rule, FixedRank)
    # A fixed rank may exceed the rows, where weights stand for repetitions.
    k = rule.first_guess if fixed else min(rule.first_guess, limit)
    found = space = None
    while (plan := choose(A, k, settings)).n_passes:
        space = space or _space(A, plan)
        found = _iterated(A, space, k, plan, settings, found, rng)
        gives_up = plan.abandons(converged=found.converged, stalled=found.stalled)
        if found.lost and space is not A:
            # The Gram matrix of few rows is cheap, and exact.
            break
        if found.lost and not (found.stalled and gives_up):
            options = {"tol": settings.tol, "max_passes": plan.max_passes, "rng": rng}
            found = deflated_svd(A, found.components, k, plan.width, **options)
            gives_up = plan.abandons(converged=found.converged, stalled=True)
        if gives_up:
            break
        s = found.singular_values[:k]
        kept = rule(s, A.moments.squared_norm, A.shape)
        if kept is not None or k == limit:
            V = found.components[:k]
            if space is not A:
                # Half a step further than the iteration, to which the values are to fit.
                s, V = _fitting_values(A, space.right_vectors(s, V))
            V = complete_rows(V, k, rng)[:k]
            s = np.concatenate([s, np.zeros(max(0, k - len(s)))])
            return kept or k, found._replace(singular_values=s, components=V)
        # The rule wants more of them: go on from those found, twice as many.
        k = min(2 * k, limit)
    found = gram_svd(A, k if fixed else limit, rng=rng)
    shape = (A.rows.n_samples, A.shape[1])
    s = np.zeros(min(shape))
    s[: len(found.singular_values)] = found.singular_values[: len(s)]
    return rule(s, A.moments.squared_norm, shape), found


def _space(A, plan):
    """Return A, or what stands for it where vectors of n_rows entries are iterated."""
    if not iterates_on_rows(A.rows):
        return A
    return WideSparse(A, A.dtype if plan.filtered else np.float64)


def _iterated(A, space, k, plan, settings, known, rng):
    """Iterate as planned on A or what stands for it, from known vectors if there are any.

    Returns
    -------
    RightSVD
    """
    width, sample = plan.width, None
    options = {"tol": settings.tol, "max_passes": plan.n_passes}
    samples = space is A and (not plan.filtered or _sample_is_cheap(A.rows, width))
    if samples:
        n_rows = sample_rows(A.shape[0], width)
        n_rows = n_rows if n_rows <= _LARGEST_SAMPLE * A.shape[0] else 0
        drawn = {"n_rows": n_rows, "known": known, "rng": rng}
        start = draw_start(A, width, k, settings.sketch, **drawn)
    elif plan.filtered:
        start = power_start(space, width, known, rng)
        options["max_passes"] -= 1
    else:
        start = np.zeros((0, A.shape[0])) if known is None else known.components[:width]
        start = complete_rows(start, width, rng)
    if plan.filtered:
        before = A.n_passes
        # A sample may have less of some directions than a random start.
        found, start = filtered_subspace(space, start, k, even=not samples, **options)
        if found is not None:
            return found
        start = complete_rows(start, width, rng)
        options["max_passes"] = max(1, options["max_passes"] - (A.n_passes - before))
    elif samples:
        sample = draw_sample(A, width, n_rows=n_rows, rng=rng)
    subspace = settings.algorithm == "subspace"
    return block_krylov(space, start, k, sample=sample, subspace=subspace, **options)


def _fitting_values(A, V):
    """Return the singular values of ``A V^T``, and V rotated to them."""
    values, U = descending_eigh(A.projected_gram(V))
    if squaring_loses(values, len(values), A.dtype):
        return refine_values(A, V)
    return np.sqrt(values), U.astype(V.dtype) @ V


def two_sided_svd(A, k, settings, *, rng):
    """Compute both sides of the leading singular triplets of a dense matrix in memory.

    Parameters
    ----------
    A : CenteredMatrix
        Without centring and weights.
    k : int
    settings : Settings
    rng : Generator

    Returns
    -------
    TwoSidedSVD or None
        None where it is for `right_svd` to answer: where another algorithm or start is
        asked for, where another algorithm is cheaper, where the iteration would take more
        than twice the memory of A, and where it does not lead to the tolerance.
    """
    if settings.algorithm not in ("auto", "krylov") or settings.sketch != "row_sampling":
        return None
    n_rows, n_columns = A.shape
    plan = choose(A, k, settings)
    n_kept = (n_rows + n_columns) * plan.width * MAX_BLOCKS
    if plan.n_passes < 2 or n_kept > _LARGEST_BASIS * n_rows * n_columns:
        return None
    options = {"tol": settings.tol, "max_passes": plan.n_passes}
    options |= {"error_of": _excess, "rng": rng}
    found = two_sided_krylov(A.rows.in_memory(), k, plan.width, **options)
    if found is None:
        return None
    stalled = found.n_passes < plan.n_passes
    return None if plan.abandons(converged=found.converged, stalled=stalled) else found


def _excess(lacking, captured):
    """Return the excess Frobenius error, given shares of the squared norm."""
    tail = 1 - captured - lacking
    return lacking / (2 * tail) if tail > 0 else np.inf


def leading_right(A, k, rng):
    """Return at most k right singular vectors, as rows, whose values are not rounding.

    Parameters
    ----------
    A : CenteredMatrix
    k : int
        At most the smaller of the shape of A.
    rng : Generator

    Returns
    -------
    ndarray of shape (r, n_columns)
        In float64.
    """
    _, result = right_svd(A, FixedRank(k), rng=rng)
    # The leading ones are those in the units of the data.
    rank = numerical_rank(result.singular_values[:k], A.shape, A.dtype)
    return result.components[:rank].astype(np.float64)


def _most_values(A):
    """Return how many singular values there are, of a stream at most."""
    return A.shape[1] if A.shape[0] is None else min(A.shape)


def _fits_gram(A):
    """Whether the exact solution works on this source without a dense copy of it."""
    n_rows, n_features = A.shape
    if n_rows >= n_features or isinstance(A.rows, SparseRows):
        return True
    return hasattr(A.rows, "values") and n_rows * n_features <= 2**27
