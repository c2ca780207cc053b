"""Partial Cholesky factorisation, its pivots chosen at random, greedily or beforehand."""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import scipy.linalg

from ..._typing import Array, Float, Indices
from ...operators.psd_matrix import PSDMatrix
from ...operators.threads import consecutive, one_blas_thread
from ..dense.triangular import inverse_cholesky

# A round proposes this share of all pivots wanted, within these bounds. More proposals
# mean larger products and fewer rounds, but more of them are rejected.
_PROPOSED_SHARE = 0.2
_FEWEST_PROPOSED, _MOST_PROPOSED = 24, 400

# A greedy pivot may fall behind the largest left outside its round by this factor.
_GREEDY_SLACK = 0.5

# A round ends once no proposal has kept this share of the largest diagonal entry: its
# votes have become small differences, and fresh proposals are better.
_ELECTED_SHARE = 1e-3

# A diagonal entry this far below zero, relative to the largest, is no rounding error.
INDEFINITE = 1e-6

# Choosing pivots up to a tolerance takes as long as a transform of the rows, so that it
# pays if it saves a third of the landmarks. It is expected to where uniform landmarks leave
# this many times more than the first block. The number was read off sixteen kernels of
# tables, and follows from nothing else: a grid in `benchmarks` is still owed.
_LEAST_GAIN = 1.15

# The smallest pivot, in eps of the largest diagonal entry. Below the first, the recursion
# breaks down in its own precision. Below the second, so do products with the inverse of the
# factor, whatever the precision in which that was computed.
_RECURSION_FLOOR = 1e3
PRODUCT_FLOOR = 64.0

# Room for a factor of up to this many entries is made at once; larger factors grow.
_ENTRIES_AT_ONCE = 2**28

# A residual trace below this many eps of the trace is rounding.
_ROUNDING = 4.0


class PivotedCholesky(NamedTuple):
    """A partial Cholesky factorisation ``A ~ F F^T``.

    Attributes
    ----------
    factor : ndarray of shape (n, rank)
        F: its rows `pivots` are lower triangular.
    pivots : ndarray of shape (rank,)
        Indices of the rows chosen, in order.
    residual_diagonal : ndarray of shape (n,)
        Diagonal of ``A - F F^T``, in float64: not negative.
    relative_error : float
        Trace of the residual over the trace of A.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_rnla.linalg import rpcholesky
    >>> B = np.random.default_rng(0).standard_normal((20, 2))
    >>> A = B @ B.T
    >>> F, pivots = rpcholesky(A, 2, random_state=0)[:2]
    >>> bool(np.allclose(F @ F.T, A))
    True
    >>> pivots.shape
    (2,)
    """

    factor: np.ndarray
    pivots: np.ndarray
    residual_diagonal: np.ndarray
    relative_error: float


class NotPositiveSemidefiniteError(ValueError):
    """A matrix has a negative eigenvalue."""


class FlatSpectrumError(Exception):
    """Pivots that are chosen are hardly better than uniform ones."""


class RandomPivots:
    """Pivots drawn from the residual diagonal, by rejection from blocks of proposals.

    Epperly, Tropp & Webber (2024), algorithm 2.1: what it accepts has the distribution
    of pivots drawn one at a time (Chen, Epperly, Tropp & Webber 2022).

    Parameters
    ----------
    rng : Generator
    weight : ndarray of shape (n,), default=1.0
        How often each of the candidates counts.
    """

    rng: Any
    weight: Array | float

    def __init__(self, rng: np.random.Generator, weight: Array | float = 1.0) -> None:
        self.rng, self.weight = rng, weight

    def propose(self, d: Array, size: int) -> Indices:
        """Return the indices of proposals, drawn independently."""
        # RPCholesky: pivot i with probability d_i / sum(d), d the diagonal of the residual.
        cumulative = np.cumsum(self.weight * d)
        drawn = self.rng.random(size) * cumulative[-1]
        return np.searchsorted(cumulative, drawn, side="right").clip(max=len(d) - 1)

    def order(self, d: Array, proposed: Indices, G: Array) -> Callable[..., Any]:
        """Return a function that gives the proposals in turn.

        Parameters
        ----------
        d : ndarray of shape (n,)
            Residual diagonal.
        proposed : ndarray of int
        G : ndarray
            Residual of the proposals.

        Returns
        -------
        callable
            ``following(diagonal, columns)`` is the position of the next to look at and the
            least diagonal entry it is accepted with, or None at the end. It is given what
            is left of the diagonal, and the columns eliminated so far.
        """
        threshold = self.rng.random(len(proposed)) * d[proposed]
        turns = iter(enumerate(threshold))
        return lambda diagonal, columns: next(turns, None)


class ElectedPivots(RandomPivots):
    """The best of random proposals: those that stand for most of the others.

    Proposals are drawn from the residual diagonal, as `RandomPivots` draws them. As a
    sample of the trace they also tell what pivot j would take from it:
    ``sum_i R_ij^2 / R_jj``, over all i, is estimated by a weighted sum over the proposals.
    The one with most votes is elected, again and again, up to one in four.

    Parameters
    ----------
    rng, weight
        As of `RandomPivots`.
    gives_up : bool, default=False
        Whether to raise `FlatSpectrumError` if the first block gains hardly anything.
    """

    _proposals_per_pivot = 4

    def __init__(
        self, rng: np.random.Generator, weight: Float = 1.0, *, gives_up: bool = False
    ) -> None:
        super().__init__(rng, weight)
        self._gives_up, self._by_chance = gives_up, None

    def propose(self, d: Array, size: int) -> Indices:
        """Return the indices of distinct proposals."""
        if self._by_chance is not None:
            weight = np.broadcast_to(self.weight, d.shape)
            left, by_chance = float(d @ weight), self._by_chance * weight.sum()
            self._gives_up, self._by_chance = False, None
            if by_chance < _LEAST_GAIN * left:
                raise FlatSpectrumError
        drawn = super().propose(d, min(size * self._proposals_per_pivot, _MOST_PROPOSED))
        self._wanted = min(size, -(-len(drawn) // self._proposals_per_pivot))
        proposed, self._counts = np.unique(drawn, return_counts=True)
        return proposed

    def order(self, d: Array, proposed: Indices, G: Array) -> Callable[..., Any]:
        """Return a function that gives the proposal with most votes."""
        weight = self._counts / d[proposed]
        if self._gives_up and np.ptp(d) == 0:
            self._by_chance = _left_by_chance(G, self._wanted)
        votes = weight @ np.square(G)
        smallest = _ELECTED_SHARE * np.diagonal(G).max(initial=0.0)

        def following(diagonal, columns):
            nonlocal votes
            r = columns.shape[1]
            if r:
                # The last column v has taken v v^T from the residual.
                before, v = columns[:, :-1], columns[:, -1]
                # Of sum_i w_i (R_ij - v_i v_j)^2, the old votes are the first term.
                image = G @ (weight * v) - before @ (before.T @ (weight * v))
                votes = votes + v * (float(weight @ v**2) * v - 2 * image)
            if r == self._wanted or diagonal.max() <= smallest:
                return None
            shares = votes / np.maximum(diagonal, smallest)
            return int(np.argmax(np.where(diagonal > smallest, shares, -np.inf))), 0.0

        return following


def _left_by_chance(G, r):
    """Return the mean diagonal that r random rows leave, estimated from a sample.

    Parameters
    ----------
    G : ndarray of shape (n, n)
        The matrix among the sample. Each r of its rows are eliminated from the others.
    r : int

    Returns
    -------
    float
        Infinite where they depend on one another.
    """
    left = []
    for some in consecutive(len(G) - r + 1, r):
        drawn = np.arange(some.start, some.start + r)
        others = np.delete(G, drawn, axis=1)
        try:
            half = inverse_cholesky(G[np.ix_(drawn, drawn)]) @ others[drawn]
        except np.linalg.LinAlgError:
            return np.inf
        diagonal = np.delete(np.diagonal(G), drawn)
        left.append(np.mean(diagonal - np.einsum("ij,ij->j", half, half)))
    return float(np.mean(left))


class GreedyPivots:
    """The largest of the residual diagonal, up to a factor of two, a block at a time."""

    def propose(self, d: Array, size: int) -> Indices:
        """Return the indices of the largest entries."""
        size = min(size, len(d))
        largest = np.argpartition(d, len(d) - size)[len(d) - size :]
        return largest[np.argsort(-d[largest], kind="stable")]

    def order(self, d: Array, proposed: Indices, G: Array) -> Callable[..., Any]:
        """Return a function that gives the largest of what is left of the block."""
        outside = d.copy()
        outside[proposed] = 0
        bar = _GREEDY_SLACK * outside.max()

        def following(diagonal, columns):
            p = int(np.argmax(diagonal))
            return (p, bar) if diagonal[p] >= bar and diagonal[p] > 0 else None

        return following


class GivenPivots:
    """Pivots in a given order; those that depend on earlier ones are passed over."""

    def __init__(self, indices: Indices) -> None:
        self._left = np.asarray(indices)

    def propose(self, d: Array, size: int) -> Indices:
        """Return the next indices."""
        proposed, self._left = self._left[:size], self._left[size:]
        return proposed

    def order(self, d: Array, proposed: Indices, G: Array) -> Callable[..., Any]:
        """Return a function that accepts all in turn."""
        turns = iter(range(len(proposed)))

        def following(diagonal, columns):
            i = next(turns, None)
            return None if i is None else (i, 0.0)

        return following


def pivoted_cholesky(
    A: PSDMatrix,
    k: int,
    pivots: Any,
    *,
    candidates: Indices | None = None,
    weight: Array | None = None,
    tol: float = 0.0,
    report: Callable[[], bool] | None = None,
) -> PivotedCholesky:
    """Factor `A` partially, in its own precision or, where that ends early, in double.

    Parameters
    ----------
    A : PSDMatrix
    k : int
        Maximum number of pivots.
    pivots : callable
        Returns the rule: RandomPivots, GreedyPivots or GivenPivots. It sees the
        candidates only, by their places among them.
    candidates : ndarray of int, default=None
        Rows that may become pivots; None means all, in order.
    weight : ndarray of shape (n,), default=None
        Weights of the rows in the trace.
    tol : float
        Relative trace error at which to stop.
    report : callable, default=None
        Called after each block of pivots; a true answer asks to stop.

    Returns
    -------
    PivotedCholesky
        Of fewer than k pivots when `tol`, or the numerical rank, is reached.
    """
    eps = np.finfo(A.dtype).eps
    candidates = np.arange(A.shape[0]) if candidates is None else candidates
    k = min(k, len(candidates))
    options = {"candidates": candidates, "weight": weight, "tol": tol, "report": report}
    with one_blas_thread(A.n_jobs):
        result = _factor(A, k, pivots(), floor=_RECURSION_FLOOR * eps, **options)
        if A.dtype == np.float64 or len(result.pivots) >= k:
            return result
        if result.relative_error <= max(tol, _ROUNDING * eps):
            return result
        floor = PRODUCT_FLOOR * eps
        result = _factor(A.in_double(), k, pivots(), floor=floor, **options)
    return result._replace(factor=result.factor.astype(A.dtype))


def complete_cholesky(
    A: PSDMatrix,
    *,
    candidates: Indices | None = None,
    weight: Array | None = None,
    tol: float = 0.0,
    report: Callable[[], bool] | None = None,
) -> PivotedCholesky:
    """Factor `A` with the largest pivots, where every candidate may become one.

    LAPACK's factorisation with complete pivoting, in double precision: of n landmarks
    among n rows none has to be drawn, and only those that depend on others are left out.

    Parameters
    ----------
    A : PSDMatrix
    candidates, weight, tol, report
        As of `pivoted_cholesky`.

    Returns
    -------
    PivotedCholesky
    """
    n = A.shape[0]
    candidates = np.arange(n) if candidates is None else candidates
    eps = np.finfo(A.dtype).eps
    K = A.submatrix(candidates)
    d = A.diagonal() if len(K) < n else np.diagonal(K)[np.argsort(candidates)]
    largest = np.abs(d).max(initial=0.0)
    floor = (_RECURSION_FLOOR if A.dtype == np.float64 else PRODUCT_FLOOR) * eps
    if not np.isfinite(K).all():
        raise ValueError("A contains NaN or infinity.")
    with one_blas_thread(A.n_jobs):
        F, order, rank, _ = scipy.linalg.lapack.dpstrf(
            K, lower=True, tol=max(floor * largest, np.finfo(np.float64).tiny)
        )
    # What is above the diagonal, and right of the rank, is no part of the factor.
    F = np.tril(F)[:, :rank]
    order = candidates[order - 1]
    factor = np.empty((n, rank))
    factor[order] = F
    if rank and len(order) < n:
        others = np.setdiff1d(np.arange(n), order)
        columns = np.concatenate(A.over_tiles(A.columns(order[:rank])), axis=1)[:, others]
        factor[others] = scipy.linalg.solve_triangular(F[:rank], columns, lower=True).T
    trace = _weighted_sum(d, weight)
    rest = trace - np.cumsum([_weighted_sum(f * f, weight) for f in factor.T])
    target = max(tol, _ROUNDING * eps) * trace
    rank = min(rank, np.count_nonzero(rest > target) + 1)
    factor = np.ascontiguousarray(factor[:, :rank])
    d = _nonnegative(d - _column_squared_norms(factor.T), _lowest(floor, largest))
    d[order[:rank]] = 0.0
    if report is not None:
        report()
    return PivotedCholesky(
        factor=factor.astype(A.dtype),
        pivots=order[:rank],
        residual_diagonal=d,
        relative_error=_weighted_sum(d, weight) / trace if trace > 0 else 0.0,
    )


def _factor(A, k, pivots, *, candidates, weight, tol, floor, report):
    """Factor `A` in its precision.

    Parameters
    ----------
    A : PSDMatrix
    k : int
        Maximum number of pivots.
    pivots : RandomPivots, GreedyPivots or GivenPivots
        How they are chosen.
    floor : float
        Smallest pivot relative to the largest entry of the diagonal.
    candidates, weight, tol, report
        As of `pivoted_cholesky`.

    Returns
    -------
    PivotedCholesky

    Notes
    -----
    n k evaluations of A and n k^2 flops, in blocks: each tile of new columns is evaluated,
    reduced by a product with the factor so far, and solved, while in cache.
    """
    n = A.shape[0]
    d = A.diagonal()
    if not np.isfinite(d).all():
        raise ValueError("The diagonal of A contains NaN or infinity.")
    lowest = _lowest(floor, np.abs(d).max(initial=0.0))
    d = _nonnegative(d, lowest)
    trace = left = _weighted_sum(d, weight)
    eps = np.finfo(A.dtype).eps
    floor = max(floor * d.max(initial=0.0), np.finfo(np.float64).tiny)
    target = max(tol, _ROUNDING * eps) * trace
    F = np.empty((min(k, max(1024, _ENTRIES_AT_ONCE // max(1, n))), n), A.dtype)
    chosen = np.empty(0, dtype=np.intp)
    open_ = d > floor
    while len(chosen) < k and left > target:
        r = len(chosen)
        size = np.clip(int(_PROPOSED_SHARE * k), _FEWEST_PROPOSED, _MOST_PROPOSED)
        of_candidates = np.where(open_, d, 0.0)[candidates]
        if not of_candidates.any():
            break
        proposed = pivots.propose(of_candidates, int(min(size, k - r)))
        S = candidates[proposed]
        if len(S) == 0:
            break
        # What is left of A between the proposals, in double: pivots are told by it.
        F_S = F[:r, S].astype(np.float64)
        G = A.submatrix(S) - F_S.T @ F_S
        if not np.isfinite(G).all():
            raise ValueError("A contains NaN or infinity.")
        accepted, L = _accept(G, pivots.order(of_candidates, proposed, G), floor)
        # Where the residual is rounding, it stays part of the error but is no pivot.
        open_[S[np.diagonal(G) <= floor]] = False
        if not accepted:
            open_[S] = False
            continue
        # The new columns of A, less what earlier pivots have of them, times the inverse of
        # the pivots' own factor: rows of F, in one product for each tile.
        P = S[accepted]
        F = _with_room(F, r + len(P), k)
        inverse = np.linalg.inv(L).astype(A.dtype)
        taken = _update(A, F, r, P, inverse)
        kept = len(P)
        if left - _weighted_sum(taken, weight) <= target:
            # The pivot that reached the target is the last.
            gained = [_weighted_sum(f * f, weight) for f in F[r : r + len(P)]]
            rest = left - np.cumsum(gained)
            kept = min(kept, np.count_nonzero(rest > target) + 1)
            taken -= _column_squared_norms(F[r + kept : r + len(P)])
        d = _nonnegative(d - taken, lowest)
        chosen = np.concatenate([chosen, P[:kept]])
        d[chosen] = 0.0
        left = _weighted_sum(d, weight)
        open_ &= d > floor
        if report is not None and report():
            break
    error = left / trace if trace > 0 else 0.0
    return PivotedCholesky(
        factor=F[: len(chosen)].T,
        pivots=chosen,
        residual_diagonal=d,
        relative_error=error,
    )


def _weighted_sum(values, weight):
    """Return the sum of values of the rows, each times the weight of its row."""
    return float(values.sum() if weight is None else values @ weight)


def _lowest(floor, largest):
    """Return the least residual that is rounding, of pivots down to ``floor * largest``."""
    return -max(INDEFINITE, 10 * floor) * largest


def _nonnegative(d, lowest):
    """Return a residual diagonal less its rounding errors; raise where there are others."""
    if not np.isfinite(d).all():
        raise ValueError("A contains NaN or infinity.")
    if d.min(initial=0.0) < lowest:
        raise NotPositiveSemidefiniteError(
            "A is not positive semidefinite: its residual has a negative diagonal entry, "
            f"{d.min():.3g}."
        )
    return np.maximum(d, 0.0)


def _accept(G, following, floor):
    """Eliminate accepted pivots from the block G, column by column.

    Returns
    -------
    accepted : list of int
        Their positions.
    L : ndarray
        Cholesky factor of that part of G.
    """
    diagonal = np.diagonal(G).copy()
    columns = np.zeros((len(G), len(G)), order="F")
    accepted = []
    # Each turn accepts or rejects one of the proposals.
    for _ in range(len(G)):
        step = following(diagonal, columns[:, : len(accepted)])
        if step is None:
            break
        # Rejection: a proposal drawn in proportion to the diagonal d of before is kept with
        # probability (what is left of its entry) / d, which leaves pivots drawn one by one.
        p, threshold = step
        if diagonal[p] <= floor or diagonal[p] < threshold:
            diagonal[p] = 0.0
            continue
        r = len(accepted)
        column = G[p] - columns[:, :r] @ columns[p, :r]
        column /= np.sqrt(diagonal[p])
        columns[:, r] = column
        diagonal -= column * column
        diagonal[p] = 0.0
        accepted.append(p)
    return accepted, np.tril(columns[accepted, : len(accepted)])


def _update(A, F, r, P, inverse):
    """Write the rows of F that belong to the pivots P.

    Returns
    -------
    ndarray of shape (n,)
        What they take from the diagonal.
    """
    F_P = np.ascontiguousarray(F[:r, P].T)
    columns = A.columns(P)

    def of_tile(tile):
        W = columns(tile)
        # What is not finite shows in the norms.
        with np.errstate(invalid="ignore", over="ignore"):
            # Rows of F are columns of the factor: F_new = L^-1 (A_P - F_P F_old).
            if r:
                W -= F_P @ F[:r, tile]
            return _column_squared_norms(np.matmul(inverse, W, out=F[r : r + len(P), tile]))

    return np.concatenate(A.over_tiles(of_tile))


def _column_squared_norms(F):
    """Return the squared norms of the columns, summed in their precision."""
    return np.einsum("ij,ij->j", F, F).astype(np.float64)


def _with_room(F, rank, k):
    """Return F with space for `rank` rows: doubled where it has to grow."""
    if rank <= len(F):
        return F
    larger = np.empty((min(k, max(rank, 2 * len(F))), F.shape[1]), F.dtype)
    larger[: len(F)] = F
    return larger
