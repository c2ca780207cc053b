"""Choosing columns from a sketch of the rows."""

from typing import NamedTuple

import numpy as np

from ..._refusals import refuse_not_finite
from ...operators import passes
from ...operators.rows import add_states
from ...sketching import SparseSign
from ..dense.pivoting import (
    Pivots,
    column_squared_norms,
    lu_pivots,
    pivot_columns,
    swap_columns,
)
from ..dense.rank import numerical_rank, rounding_of
from ..singular.truncated_svd import leading_right

METHODS = ("cpqr", "lupp", "qdeim", "greedy", "leverage", "leverage-top")

# Methods that take one column after another, and so can stop at a tolerance.
ORDERED_METHODS = ("cpqr", "greedy", "supervised")

# Rows of the sketch for each column wanted. Errors are within 1.5 % of those of pivoting
# all of A at 8 and 2 % at 4. LU takes as many columns as there are rows, and an exchange
# would go by the noise of a small sketch.
_ROWS_PER_COLUMN = {"lupp": 1, "swap": 16, None: 8}
_LEAST_ROWS = 10

# With a response, whose residual is mostly noise, the sketch has this many rows or more,
# where the sketch is no larger than that many entries.
_RESPONSE_ROWS = 2048
_RESPONSE_ENTRIES = 2**26

# For a tolerance: rows of the first sketch. Its last columns are of little worth.
_FIRST_ROWS = 256


class Root(NamedTuple):
    """A matrix B of few rows whose columns stand for those of A.

    Attributes
    ----------
    B : ndarray of shape (l, n_columns)
        In float64. ``B^T B`` is about ``A^T A``, exactly so without a sketch.
    sketch : Sketch or None
        With which ``B = S A``.
    rounding : ndarray of shape (n_columns,)
        Norms of the rounding errors in the columns of B.
    """

    B: np.ndarray
    sketch: object
    rounding: np.ndarray

    def response(self, A, Y) -> np.ndarray:
        """Return T whose products with the columns of B are those of Y with A's.

        Parameters
        ----------
        A : CenteredMatrix
        Y : ndarray of shape (n_rows, n_targets)

        Returns
        -------
        ndarray of shape (l, n_targets)
        """
        if self.sketch is not None:
            return self.sketch @ Y
        products = A.fold(fold_products, Y)[0]
        # A column in small units tells as much of the response as one in large units.
        norms, lost = self._norms(), 0.0
        if np.isfinite(norms).any():
            lost = (self.rounding / norms).max()
        products /= norms[:, np.newaxis]
        return np.linalg.lstsq((self.B / norms).T, products, rcond=lost)[0]

    def unit_columns(self) -> np.ndarray:
        """Return B with columns of unit length; rounding errors are zero."""
        return self.B / self._norms()

    def _norms(self):
        norms = np.sqrt(column_squared_norms(self.B))
        return np.where(norms > self.rounding, norms, np.inf)

    def estimates(self, pivots) -> np.ndarray:
        """Return estimates of the relative error on A after each pivot.

        Notes
        -----
        A projection on k columns takes k of the l rows of a sketch, in expectation, with
        it: the error on the sketch is ``sqrt((l - k) / l)`` of that on A.
        """
        errors = pivots.errors
        total = errors[0] if errors[0] > 0 else 1.0
        if self.sketch is None:
            return errors / total
        size = len(self.B)
        left = np.maximum(size - np.arange(len(errors)), 1)
        return np.minimum(errors / total * np.sqrt(size / left), 1.0)


def fold_products(state, block, Y):
    """Products of the columns of B with those of Y: ``[B^T Y]``, float64."""
    rows = slice(block.start, block.start + block.values.shape[0])
    part = block.values.T @ Y[rows].astype(block.values.dtype, copy=False)
    return add_states(state, [np.asarray(part, dtype=np.float64)])


def sketch_size_of(k, method, refine) -> int:
    """Return the rows of the sketch from which to choose k columns."""
    per_column = _ROWS_PER_COLUMN[refine or ("lupp" if method == "lupp" else None)]
    return per_column * k + _LEAST_ROWS


def root_of(A, size, rng) -> Root:
    """Return a root of A of `size` rows, or a smaller exact one.

    Parameters
    ----------
    A : CenteredMatrix
    size : int
    rng : Generator
    """
    n_rows, n_columns = A.shape
    if n_rows <= size:
        values = A.rows.in_memory()
        values = values if isinstance(values, np.ndarray) else values.toarray()
        values = _finite(values.astype(np.float64))
        return _root(A, values - A.moments.mean if A.center else values)
    if n_columns <= size and not A.rows.sparse:
        # n_columns^2 flops in a product for each row are faster than scattering it.
        B = _square_root(A.gram())
        return _root(A, B, lost=np.sqrt(rounding_of(A.shape, A.dtype, A.dtype)))
    S = SparseSign(size, n_rows).sample(rng)
    # The sketch accumulates in the precision of the data.
    lost = rounding_of(A.shape, A.dtype, A.dtype)
    if A.center:
        return _root(A, A.sketch(S).astype(np.float64), S, lost)
    # It is not centred: the sketch of the rows as they are.
    return _root(A, _finite((S @ A).astype(np.float64)), S, lost)


def _root(A, B, sketch=None, lost=0.0):
    """Return a root with its rounding errors, those of sums relative to `lost`."""
    own = rounding_of(A.shape, A.dtype)
    squares = max(own, lost) ** 2 * column_squared_norms(B)
    if A.center:
        # Entries were rounded relative to their size, not to how far they are from a mean.
        squares += A.moments.total_weight * (own * A.moments.mean) ** 2
    return Root(B, sketch, np.sqrt(squares))


def about_origin(A, root) -> Root:
    """Return a root of the rows of `A` themselves from one about their mean.

    ``A^T A = (A - 1 m^T)^T (A - 1 m^T) + n m m^T``: one more row.
    """
    if not A.center:
        return root
    mean = A.moments.mean * np.sqrt(A.moments.total_weight)
    return root._replace(B=np.concatenate([root.B, mean[np.newaxis]]))


def _square_root(gram):
    """Return B with ``B^T B`` the positive semidefinite `gram`."""
    try:
        return np.linalg.cholesky(gram).T
    except np.linalg.LinAlgError:
        # Eigenvalues, unlike a Cholesky factor, depend on the units of the columns.
        norms = np.sqrt(np.diagonal(gram))
        scale = np.where(norms > 0, norms, 1.0)
        squares, V = np.linalg.eigh(gram / np.outer(scale, scale))
        return np.sqrt(np.maximum(squares, 0.0))[:, np.newaxis] * V.T * norms


def _finite(values):
    refuse_not_finite(values)
    return values


def select_columns(
    A,
    k,
    *,
    tol=0.0,
    method="cpqr",
    refine=None,
    sketch_size=None,
    n_rows=0,
    margin=0.0,
    response=None,
    rng,
) -> tuple[Root, Pivots]:
    """Choose columns of `A`.

    Parameters
    ----------
    A : CenteredMatrix
    k : int or None
        How many; None is the fewest whose error is estimated to be at most `tol`.
    tol : float
        Relative error ``||A - C C^+ A||_F / ||A||_F``.
    method, refine, sketch_size
        As in `column_subset`.
    n_rows : int, default=0
        Rows that are to be chosen too.
    margin : float, default=0.0
        By how much an estimate is to be below `tol`, relative to it.
    response : callable, default=None
        ``response(root)`` returns the Gram matrix of what the columns are to span, for
        "supervised".
    rng : Generator

    Returns
    -------
    root : Root
        What they were chosen from.
    pivots : Pivots
        Fewer than `k` where the columns of A have lower rank.
    """
    size = sketch_size
    if size is None and k is None:
        size = max(_FIRST_ROWS, 2 * n_rows)
    elif size is None:
        size = sketch_size_of(max(k, n_rows), method, refine)
    if sketch_size is None and response is not None:
        size = max(size, min(_RESPONSE_ROWS, _RESPONSE_ENTRIES // A.shape[1]))
    while True:
        root = root_of(A, size, rng)
        most = k
        if k is None:
            most = min(root.B.shape) if root.sketch is None else len(root.B) // 2
        target = _target(root, method, response)
        pivots = _pivots(A, root, most, method, target, rng)
        exact = _exact_root(A, root) if len(pivots.indices) < most else root
        if exact is not root:
            # Dependent, or below what a Gram matrix or sums in float32 can tell.
            root = exact
            target = _target(root, method, response)
            pivots = _pivots(A, root, most, method, target, rng)
        if k is not None:
            break
        bound = tol if root.sketch is None else (1 - margin) * tol
        enough = np.flatnonzero(root.estimates(pivots) <= bound)
        if len(enough):
            pivots = Pivots(pivots.indices[: enough[0]], pivots.errors[: enough[0] + 1])
            break
        if root.sketch is None or len(pivots.indices) < most:
            break
        size *= 2
    if refine == "swap":
        indices = swap_columns(
            root.B, pivots.indices, target=target, rounding=root.rounding
        )
        pivots = pivot_columns(root.B, len(indices), first=indices, rounding=root.rounding)
    return root, pivots


def _exact_root(A, root):
    """Return a root of sums in float64 and no squares; `root` itself if it is one."""
    n_rows, n_columns = A.shape
    if root.sketch is not None:
        if A.dtype == np.float64:
            return root
        return _root(A, double_sketch(A, root.sketch), root.sketch)
    if n_rows < n_columns or len(root.B) == n_rows:
        return root
    return _root(A, A.triangular_factor())


def _target(root, method, response):
    """Return the Gram matrix of what columns are to capture; None for pivots by length."""
    if response is not None:
        return response(root)
    return root.B @ root.B.T if method == "greedy" else None


def _pivots(A, root, k, method, target, rng):
    """Return at most k independent columns of a root in the order of a method."""
    B, rounding = root.B, root.rounding
    if method in ORDERED_METHODS:
        return pivot_columns(B, k, target=target, rounding=rounding)
    if method == "lupp":
        # LU with partial pivoting of the transposed sketch (Dong & Martinsson 2023): its
        # row pivots are columns of A, as many as the sketch has rows.
        return pivot_columns(B, k, first=lu_pivots(B.T), rounding=rounding)
    if method == "qdeim":
        # Q-DEIM: the pivots of V^T, not of A (Drmac & Gugercin 2016).
        V = _leading(A, root, k, rng)
        first = pivot_columns(V, len(V)).indices
        return pivot_columns(B, k, first=first, rounding=rounding)
    scores = column_squared_norms(_leading(A, root, k, rng))
    order = np.argsort(-scores, kind="stable")
    if method == "leverage":
        # Mahoney & Drineas draw with replacement, and rescale what was drawn twice.
        # The largest of scaled exponential times: draws without replacement.
        with np.errstate(divide="ignore"):
            times = rng.exponential(size=len(scores)) / scores
        order = np.argsort(times, kind="stable")
    return pivot_columns(B, k, first=order[scores[order] > 0], rounding=rounding)


def _leading(A, root, k, rng):
    """Return leading right singular vectors: of an exact root, if there is one."""
    if root.sketch is not None:
        return leading_right(A, k, rng)
    _, s, V = np.linalg.svd(root.B, full_matrices=False)
    return V[: min(k, numerical_rank(s, root.B.shape, A.dtype))]


def double_sketch(A, S) -> np.ndarray:
    """Return ``S A`` with sums in float64, whatever the data, in one pass."""
    nothing = np.empty((A.shape[0], 0))
    SB, S1, moments = A.fold(passes.fold_sketch_with_targets, S, A.shift, nothing)
    return SB - S1 * moments.offset if A.center else SB
