"""A penalised least squares problem, read in passes over the rows."""

from functools import cached_property

import numpy as np

from ...operators import CenteredMatrix, passes
from ...operators.feature_map import gram_rows
from ...operators.moments import point_near, shift_rows
from ...operators.rows import add_states
from ...operators.threads import consecutive

_EPS = np.finfo(np.float64).eps

# A mean so many standard deviations from the origin is taken from the rows themselves,
# not from their products.
_FAR = 10

# Up to so many variances, a squared mean costs a Gram matrix no more than a digit.
_NEAR = 10

# Standard deviations below so many eps of the mean are rounding errors of a constant.
_CONSTANT = 64


class RidgeProblem:
    """The problem: rows, targets and penalties, read in passes, summed in float64.

    Parameters
    ----------
    rows : RowMatrix
        The rows B, with their weights; A is B about its mean.
    Y : ndarray of shape (n_rows, n_targets)
        Targets, in float64.
    alphas : ndarray of shape (n_targets,)
        Penalties.
    center : bool
        Whether to take rows and targets about their weighted means.

    Attributes
    ----------
    Y : ndarray of shape (n_rows, n_targets)
        The targets about their mean.
    Y_mean : ndarray of shape (n_targets,)
    scale : ndarray of shape (n_targets,)
        Norms of the centred, weighted targets.
    mean : ndarray of shape (n_features,)
        Of the rows, zeros without centring; known after the first pass.
    constant : ndarray of shape (n_features,)
        Which columns are zero but for rounding, as far as passes have shown.
    """

    def __init__(self, rows, Y, alphas, *, center):
        self.rows, self.alphas, self.center = rows, alphas, center
        self.shape = rows.shape
        self.mean = np.zeros(self.shape[1])
        self._known = not center
        self._far = False
        self.constant = np.zeros(self.shape[1], dtype=bool)
        weight = rows.weight
        self.Y_mean = np.zeros(Y.shape[1])
        if center:
            Y, self.Y_mean = _about_mean(Y.copy(), weight)
        self.Y = Y
        root = 1.0 if weight is None else np.sqrt(weight.astype(np.float64))[:, np.newaxis]
        self.scale = np.linalg.norm(root * Y, axis=0)

    def sketch(self, S):
        """Return ``S A`` and ``S Y``, in one pass."""
        SA, SY, moments = self.rows.fold(
            passes.fold_sketch_with_targets, S, self._near, self.Y
        )
        self._set_mean(moments)
        if self.center:
            for part in consecutive(len(SA), self.shape[1]):
                SA[part] -= np.outer(SY[part, 0], moments.offset)
        self._look_at_spread(_squares(SA), moments.total_weight)
        SA[:, self.constant] = 0.0
        return SA, SY[:, 1:]

    def gram(self, W=None):
        """Return ``F^T F`` and ``F^T Y`` of ``F = A W``, of A where W is None, in one pass.

        2 n_rows n_features r flops for the product and n_rows r^2 for its Gram matrix,
        all in matrix products.
        """
        shift = self.mean if self.center and self._known else self._near
        moments, FY = self.rows.fold(fold_normal_equations, W, shift, self.Y)
        passes.check_finite(moments.squared_norm, np.float64)
        G = (moments.about_mean() if self.center else moments).squares
        if W is None:
            self._set_mean(moments)
            self._look_at_spread(np.diagonal(G), moments.total_weight)
            G[:, self.constant] = 0.0
            G[self.constant] = 0.0
        return G, FY

    def left_out(self, loo, Y):
        """Return the sums of squared leave-one-out errors, in one pass."""
        return self.rows.fold(fold_left_out, loo, Y)[0]

    def dense(self):
        """Return A and Y, weighted, in memory."""
        A = self.rows.in_memory()
        A = np.array(A if isinstance(A, np.ndarray) else A.toarray(), dtype=np.float64)
        passes.check_finite(A.sum(), np.float64)
        weight, Y = self.rows.weight, self.Y
        if self.center:
            A, self.mean = _about_mean(A, weight)
            self._known = True
        if weight is not None:
            root = np.sqrt(weight.astype(np.float64))[:, np.newaxis]
            A, Y = A * root, Y * root
        total = float(len(A) if weight is None else weight.sum(dtype=np.float64))
        self._look_at_spread(_squares(A), total)
        return A, Y

    def find_mean(self):
        """Make the mean known, by a pass of its own, and return the norm of A."""
        moments = CenteredMatrix(self.rows, center=self.center).moments
        if self.center:
            self.mean, self._known = moments.mean, True
        return np.sqrt(moments.squared_norm)

    @cached_property
    def _near(self):
        """A point near the rows to take them about, see `point_near`; in float64.

        Dense rows in memory are read once more, as that costs less than a copy: they are
        taken as they are where all columns are near zero, as those of standardised data.
        """
        if not self.center:
            return None
        if self.rows.sparse or not getattr(self.rows, "resident", False):
            point = point_near(self.rows)
            return None if point is None else point.astype(np.float64)
        (moments,) = self.rows.fold(fold_sums)
        passes.check_finite(moments.sums.sum(), np.float64)
        mean = moments.mean
        with np.errstate(over="ignore"):
            spread = np.square(self.rows.some_rows() - mean).mean(axis=0)
            return mean if np.any(mean**2 > _NEAR * spread) else None

    def _set_mean(self, moments):
        passes.check_finite(moments.sums.sum(), np.float64)
        if self.center and not self._known:
            self.mean, self._known = moments.mean, True

    def _look_at_spread(self, squares, total):
        """Tell far and constant columns from the squared norms of those of A."""
        about = total * self.mean**2
        self.constant = squares <= (_CONSTANT * _EPS) ** 2 * about
        self._far = not self.rows.sparse and bool(np.any(about > _FAR**2 * squares))

    def gradient(self, X):
        """Return ``A^T W (Y - A X) - alpha X`` and the squared residual norms."""
        return self._product(X, self.Y)

    def product(self, P):
        """Return ``(A^T W A + alpha I) P``, in one pass that reads the data once."""
        return self._product(P, None)[0]

    def _product(self, C, Y):
        # What is not taken from the rows themselves is taken from the products.
        shift, rest = (self.mean, None) if self._far else (None, self.mean)
        if self.rows.sparse and self._near is not None:
            shift, rest = self._near, self.mean - self._near
        offset = 0.0 if rest is None else rest @ C
        out, sums, squares = self.rows.fold(fold_gradient, C, offset, shift, Y)
        if rest is not None:
            out -= np.outer(rest, sums)
        penalty = self.alphas * C
        return (out + penalty if Y is None else out - penalty), squares


def _squares(A):
    """Return the squared norms of the columns, which must not overflow."""
    with np.errstate(over="ignore"):
        squares = np.einsum("ij,ij->j", A, A)
    passes.check_finite(squares.sum(), np.float64)
    return squares


def _about_mean(Y, weight):
    """Return Y about its weighted mean, in place, and that; constant columns are zero."""
    weight = np.ones(len(Y)) if weight is None else weight.astype(np.float64)
    share, mean = weight / weight.sum(), np.zeros(Y.shape[1])
    # Twice, for what rounding leaves of a large mean.
    for _ in range(2):
        step = share @ Y
        Y -= step
        mean += step
    counted = Y if weight.all() else Y[weight > 0]
    Y[:, np.abs(counted).max(axis=0) <= _CONSTANT * _EPS * np.abs(mean)] = 0.0
    return Y, mean


def fold_sums(state, block):
    """Fold the sums of the rows: ``[moments]``, about the origin and without squares."""
    return add_states(state, [passes.sums_of(block.values, block.weight, None)])


def fold_normal_equations(state, block, W, shift, Y):
    """``F^T F`` and ``F^T Y`` of ``F = B W``, for rows B about `shift`, in float64.

    W is None for the rows themselves. Sparse rows are made dense, as many at a time as pay
    for adding a Gram matrix. State: ``[moments of F, F^T Y]``, with the Gram matrix, and
    about the shift of F.
    """
    for piece in _dense_pieces(block):
        state = _add_normal_equations(state, piece, W, shift, Y)
    return state


def _dense_pieces(block):
    """Return blocks that may be made dense: of sparse rows, a few at a time."""
    n, p = block.values.shape
    return block.pieces(n if isinstance(block.values, np.ndarray) else gram_rows(p))


def _add_normal_equations(state, block, W, shift, Y):
    F = shift_rows(passes.dense_rows(block.values), shift).astype(np.float64, copy=False)
    root = passes.root_weight(block)
    Y = Y[block.start : block.start + len(F)]
    F, shift = (F, shift) if W is None else (F @ W, None)
    moments = passes.sums_of(F, block.weight, shift)
    if root is not None:
        F, Y = F * root, Y * root
    # numpy halves the work of a product of an array with itself.
    moments.squares = F.T @ F
    return add_states(state, [moments, F.T @ Y])


def fold_left_out(state, block, loo, Y):
    """Fold the squared leave-one-out errors of a block: ``[sums for each penalty]``."""
    for piece in _dense_pieces(block):
        A = passes.dense_rows(piece.values).astype(np.float64, copy=False)
        weight = None if piece.weight is None else piece.weight.astype(np.float64)
        squares = loo.squares(A, Y[piece.start : piece.start + len(A)], weight)
        state = add_states(state, [squares])
    return state


def fold_gradient(state, block, C, offset, shift, Y):
    """``[B^T R, sum of R's rows, squares of R]`` of ``R = W (Y - B C + offset)``.

    Reads the block once. With Y None, ``R = W (B C - offset)``: a product with the
    Gram matrix. `shift` is taken from the rows of dense blocks, a copy of the block.
    """
    values = passes.double_rows(block, shift)
    R = values @ C
    R -= offset
    if Y is not None:
        np.subtract(Y[block.start : block.start + len(R)], R, out=R)
    weighted = R if block.weight is None else R * block.weight[:, np.newaxis]
    part = [
        values.T @ weighted,
        weighted.sum(axis=0),
        np.einsum("ij,ij->j", weighted, R),
    ]
    return add_states(state, part)
