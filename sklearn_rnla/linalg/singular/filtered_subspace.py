"""Subspace iteration filtered by Chebyshev polynomials, for products that are cheap."""

import numpy as np
import scipy.linalg

from ..dense.orth import orthonormal_rows
from ..dense.ritz import descending_eigh
from .block_krylov import NOISE, Energy
from .gram import RightSVD, squaring_loses

# Roots of the Chebyshev polynomial of degree two, on the interval from 0 to 1. One after
# the other they damp what is not wanted; a pass with each of them is one polynomial.
_ROOTS = tuple((1 + np.cos(np.pi * np.array([0.25, 0.75]))) / 2)

# Estimates are multiplied by this: over the gallery of ``benchmarks coverage`` the error
# is 0.6 to 1.45 times what the residuals tell.
_SAFETY = 1.4

# And by this where less is known: of a step that is only known by its filter, and from a
# start that has more of some directions than of others, as a sample of the rows has. There
# the error is what the residuals tell in the median, and up to 2.1 times that, over most of
# the same data.
_LARGER_SAFETY = 2.5

# The next block is made orthonormal by the Cholesky factor of its Gram matrix, which is
# known without another product, unless an entry of the factor's diagonal is below this.
# Rounding is so magnified a hundred times at most; what is returned is polished anyway.
_WELL_CONDITIONED = 0.1

# Passes after which the iteration on a growing basis is the better one.
_MOST_PASSES = 8


def filtered_subspace(A, start, k, *, tol, max_passes, even=True):
    """Find the leading right singular vectors of `A`, or come near them.

    Parameters
    ----------
    A : CenteredMatrix
        Or anything with its ``gram_product``, ``projected_gram``, ``moments``,
        ``stopped`` and ``dtype``.
    start : ndarray of shape (l, n_features)
        Orthonormal rows, l >= k.
    k, tol, max_passes
        As of `block_krylov`.
    even : bool, default=True
        Whether the start has as much of every direction as a random one.

    Returns
    -------
    found : RightSVD or None
        None where the tolerance is not within reach.
    subspace : ndarray of shape (l, n_features)
        Orthonormal rows to go on from.

    Notes
    -----
    A pass costs a fused product, three products of l^2 n_features and an eigenproblem of
    order l: where A is sparse, an iteration on a growing basis spends most of its time on
    that basis. Each pass multiplies by ``A^T A - s I`` in place of ``A^T A`` (Halko,
    Martinsson & Tropp 2011, algorithm 4.4), where s runs through the roots of a Chebyshev
    polynomial on the interval from 0 to the last Ritz value, which is a lower bound of
    the l-th eigenvalue: Zhou, Saad, Tiago & Chelikowsky (2006), with a basis made
    orthonormal after each factor, as by Feng, Yu, Xie & Tang (2024) for a polynomial of
    degree one.

    The error of a Ritz value is at most the square of its residual over its distance from
    the eigenvalues that are not wanted (Parlett 1998, theorem 11.7.1). For these stands
    the largest last Ritz value, multiplied by what it has grown by in the last pass. A
    further pass divides the error by the square of what the filter does.
    """
    Q, edge, roots, n_passes = start, 0.0, [], 0
    safety = _SAFETY if even else _LARGER_SAFETY
    while n_passes < min(_MOST_PASSES, max_passes):
        Z, H = A.gram_product(Q)
        n_passes += 1
        values, U = descending_eigh(H)
        energy = Energy(A, values[:k])
        if energy.tail_is_lost or squaring_loses(values, min(k, len(Q)), A.dtype):
            return None, Q
        R = Z - H.astype(Z.dtype) @ Q
        G = U @ (R @ R.T).astype(np.float64) @ U.T
        # Where the eigenvalues that are not wanted begin, should the last Ritz value grow
        # by as much again as in the last pass. It may have been larger before.
        before, edge = edge, max(edge, float(values[-1]))
        unwanted = edge * (edge / before if before > 0 else np.inf)
        squares = np.maximum(np.diagonal(G), 0.0)
        errors = _errors(values[:k], squares[:k], unwanted)
        lacking = errors.sum()
        tail = 2 * max(energy.tail - lacking, energy.eps * energy.total)
        # What is below rounding has converged.
        tol = max(tol, NOISE * energy.eps)
        excess = safety * lacking / tail
        if excess <= tol or A.stopped or n_passes == max_passes:
            return _found(values, U, Q, excess, tol, energy)
        root = (roots := roots or list(_ROOTS)).pop() * edge
        after = _LARGER_SAFETY * _damped(errors, values[:k], root, unwanted) / tail
        Q = _next_block(Q, Z, U, values, G, root)
        if after <= tol and n_passes + 1 < max_passes:
            # The step reaches the tolerance: half a pass tells the values.
            values, U = descending_eigh(A.projected_gram(Q))
            n_passes += 1
            if values[:k].sum() - energy.captured <= safety * lacking:
                return _found(values, U, Q, after, tol, energy)
            Q = U.astype(Q.dtype) @ Q
    return None, Q


def _found(values, U, Q, excess, tol, energy):
    V = orthonormal_rows(U.astype(Q.dtype) @ Q, n_rounds=1)
    s = np.sqrt(np.maximum(values, 0.0))
    excess = max(float(excess), energy.eps)
    return RightSVD(s, V, error_estimate=excess, converged=excess <= tol), V


def _damped(errors, values, root, edge):
    """Return the sum of errors after a step that multiplies by ``x - root``.

    Eigenvalues that are not wanted lie between 0 and `edge`.
    """
    most = max(root, edge - root)
    if not most < values[-1] - root:
        return float(errors.sum())
    return float(np.sum(errors * (most / (values - root)) ** 2))


def _errors(values, squares, unwanted):
    """Return bounds on the errors of Ritz values, by the squares of their residuals."""
    gaps = values - unwanted
    bounds = np.sqrt(squares)
    near = bounds < gaps
    bounds[near] = squares[near] / gaps[near]
    return bounds


def _next_block(Q, Z, U, values, G, root):
    """Return an orthonormal basis of the rows of ``Z - root Q``, in the order of U.

    Their Gram matrix is known, in the coordinates of the Ritz vectors: as residuals are
    orthogonal to these, that of the residuals, G, and a diagonal.
    """
    image = Z - Z.dtype.type(root) * Q
    norms = np.sqrt(np.maximum(np.diagonal(G), 0.0) + (values - root) ** 2)
    if not norms.all():
        return orthonormal_rows(U.astype(Q.dtype) @ image)
    scaled = U / norms[:, np.newaxis]
    gram = (G + np.diag((values - root) ** 2)) / np.outer(norms, norms)
    L, info = scipy.linalg.lapack.dpotrf(gram, lower=1)
    if info or np.diagonal(L).min() < _WELL_CONDITIONED:
        return orthonormal_rows(scaled.astype(Q.dtype) @ image)
    mixing = scipy.linalg.lapack.dtrtrs(L, scaled, lower=1)[0]
    return mixing.astype(Q.dtype) @ image
