"""Balanced factors, and conjugate gradients on them."""

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import scipy.linalg

from ....operators.observed import Observed
from ...dense.orth import product64
from ...dense.rank import numerical_rank
from .duality_gap import leading_outside, relative_gap
from .fit import decompose, dot, inner, squared_norm

# Singular values below this share of the largest are dropped.
_LEAST_VALUE = 1e-12

# Curvatures below this share of the mean are taken for it.
_LEAST_CURVATURE = 1e-3

# Without a penalty, the preconditioner has this share of the largest singular value.
_LEAST_RIDGE = 1e-6


@dataclass(frozen=True, eq=False)
class BalancedFactors:
    """Balanced factors, ``U^T U = V^T V = diag(s)``, and what is evaluated there, once.

    A point of the search for the minimum of half the squared residual and the penalty
    times ``(||U||^2 + ||V||^2) / 2``, which of balanced factors is the nuclear norm.

    Attributes
    ----------
    observed : Observed
        Of shape (m, n).
    penalty : float
    U, V : ndarray of shape (m, k) and (n, k)
        Their columns are orthogonal.
    s : ndarray of float64 of shape (k,)
        Singular values of ``U V^T``.
    residual : ndarray of shape (nnz,)
        Observed entries less those of ``U V^T``.
    """

    observed: Observed
    penalty: float
    U: np.ndarray
    V: np.ndarray
    s: np.ndarray
    residual: np.ndarray

    @classmethod
    def at(cls, observed, penalty, U, V):
        """Return the point of given balanced factors."""
        residual = observed.values.copy()
        if U.shape[1]:
            residual -= observed.sampled_product(U, V)
        s = np.einsum("ij,ij->j", V, V, dtype=np.float64)
        return cls(observed, penalty, U, V, s, residual)

    @cached_property
    def square(self):
        """Squared norm of the residual."""
        return squared_norm(self.residual)

    @cached_property
    def RV(self):
        """Product of the sparse matrix R of the residual with V, of shape (m, k)."""
        return self.observed.product(self.residual, self.V)

    @cached_property
    def RtU(self):
        """Product of its transpose with U, of shape (n, k)."""
        return self.observed.T.product(self.residual[self.observed.order], self.U)

    @property
    def rank(self):
        """Columns of each factor."""
        return self.U.shape[1]

    @property
    def objective(self):
        """Half the squared residual, and the penalty times the nuclear norm."""
        return 0.5 * self.square + self.penalty * self.s.sum()

    def units(self):
        """Return the singular vectors, of shape (m, k) and (n, k)."""
        root = np.sqrt(self.s).astype(self.U.dtype)
        return self.U / root, self.V / root

    def between(self):
        """Return the residual between the singular vectors, of shape (k, k), in float64."""
        return product64(self.U.T, self.RV.T) / np.sqrt(np.outer(self.s, self.s))

    def outside(self, tol, width, rng):
        """Return `leading_outside` of the residual, to certify a gap of `tol`."""
        spare = 3 * tol * self.penalty
        if self.rank:
            # What it costs is about its product with the nuclear norm.
            spare = min(spare, 0.3 * tol * self.objective / self.s.sum())
        return leading_outside(
            self.observed,
            self.residual,
            *self.units(),
            width,
            rng,
            accuracy=tol / 10,
            enough=self.penalty + spare,
            above=self.penalty * (1 + max(10 * tol, 0.01)),
        )

    def gap(self, outer):
        """Return the duality gap of the scaled residual, relative to the objective.

        Parameters
        ----------
        outer : float
            Bound on the norm of the residual outside of the factors.

        Returns
        -------
        float
        """
        norm = outer
        if self.rank:
            # In bases that begin with the singular vectors, the residual has four blocks,
            # whose norms bound its norm by that of a matrix of two rows and columns.
            between, rest = self.between(), 0.0
            root = np.sqrt(self.s)
            for R, F, middle in zip(
                (self.RV, self.RtU), self.units(), (between, between.T), strict=True
            ):
                left = R / root.astype(R.dtype) - F @ middle.astype(R.dtype)
                rest = max(rest, np.sqrt(squared_norm(left)))
            norm = np.linalg.norm([[np.linalg.norm(between, 2), rest], [rest, outer]], 2)
        through = inner((self.U,), (self.RV,))
        return relative_gap(self.penalty, norm, self.square, self.s.sum(), through)


class Search:
    """Preconditioned conjugate gradients on balanced factors.

    Parameters
    ----------
    observed : Observed
        Of shape (m, n).
    U, V : ndarray of shape (m, k) and (n, k)
        Balanced factors to start from.
    penalty : float

    Attributes
    ----------
    point : BalancedFactors
        Where the search is.
    """

    def __init__(self, observed, U, V, penalty):
        sides = (observed, observed.T)
        self._shares = [side.counts / max(1, side.shape[1]) for side in sides]
        self._start_from(BalancedFactors.at(observed, penalty, U, V))

    def _at(self, U, V):
        """Return the point of other balanced factors."""
        return BalancedFactors.at(self.point.observed, self.point.penalty, U, V)

    def _start_from(self, point):
        """Go to a point, and forget the directions and curvatures of those before."""
        U, V, s = point.U, point.V, point.s
        self.point = point
        # The direction of the last step, its scaled gradient, and their inner product.
        self._last = None
        # Squared norms of the observed entries of products of singular vectors.
        squares = point.observed.product(np.ones_like(point.residual), V * V)
        share = product64((U * U).T, squares.T) / np.outer(s, s)
        share = (share + share.T) / 2
        floor = _LEAST_CURVATURE * share.mean() if point.rank else 0.0
        self._curvature = np.maximum(share, floor)
        self._ridge = max(point.penalty, _LEAST_RIDGE * s.max(initial=0.0))

    def step(self):
        """Go to the best point of a line of preconditioned conjugate gradients.

        Returns
        -------
        bool
            False where nothing on it is better.
        """
        point = self.point
        dtype = point.U.dtype
        penalty = dtype.type(point.penalty)
        gradients = (point.RV - penalty * point.U, point.RtU - penalty * point.V)
        scaled = self._precondition(gradients)
        power = inner(scaled, gradients)
        directions = self._turned(scaled, gradients, power)
        length, first, second = _line(point, directions)
        if not length > 0:
            return False
        first *= dtype.type(length)
        second *= dtype.type(length**2)
        # In the memory of `first`, which is of no more use.
        residual = np.subtract(point.residual, first, out=first)
        residual -= second
        U, V = (
            F + dtype.type(length) * D
            for F, D in zip((point.U, point.V), directions, strict=True)
        )
        balancing = _balancing(U, V, point.s)
        if balancing is None:
            self._start_from(self._at(*_balanced_anew(U, V)))
            return True
        left, right, s = balancing
        self.point = replace(point, U=U @ left, V=V @ right, s=s, residual=residual)
        # Directions are tangent vectors, and change with the factors.
        self._last = (
            (directions[0] @ left, directions[1] @ right),
            (scaled[0] @ left, scaled[1] @ right),
            power,
        )
        return True

    def _turned(self, scaled, gradients, power):
        """Return the direction conjugate to the last one, or steepest descent.

        Parameters
        ----------
        scaled, gradients : tuple of ndarray
            Of both factors; the first are preconditioned.
        power : float
            Their inner product.

        Returns
        -------
        tuple of ndarray
        """
        if self._last is None:
            return scaled
        before, scaled_before, power_before = self._last
        # Polak & Ribiere (1969), restarted where the weight is negative.
        weight = (power - inner(scaled_before, gradients)) / power_before
        weight = scaled[0].dtype.type(weight)
        if not weight > 0:
            return scaled
        turned = tuple(Z + weight * D for Z, D in zip(scaled, before, strict=True))
        return turned if inner(turned, gradients) > 0 else scaled

    def _precondition(self, gradients):
        """Divide gradients by about the Hessian.

        Between the singular vectors the middle matrix moves, in its own metric: scaling
        columns of a factor one by one, small singular values would not move. Outside, the
        Hessian is about diagonal if entries are everywhere alike.
        """
        point = self.point
        root = np.sqrt(point.s)
        sums = np.add.outer(point.s, point.s)
        within = [
            product64(F.T, G.T) / root[:, None]
            for F, G in zip((point.U, point.V), gradients, strict=True)
        ]
        # Of balanced factors both are the same matrix.
        middle = (within[0] * root + (within[1] * root).T) / sums
        skew = (middle - middle.T) / 2
        bend = self._curvature
        # The nuclear norm is linear in the symmetric part, and curved in the other.
        middle = (middle - skew) / bend + skew / (bend + 2 * point.penalty / sums)
        out = []
        for G, unit, share, pull, move in zip(
            gradients, point.units(), self._shares, within, (middle, middle.T), strict=True
        ):
            Z = G - unit @ pull.astype(G.dtype)
            Z /= (np.multiply.outer(share, point.s) + self._ridge).astype(G.dtype)
            within_again = product64(unit.T, Z.T)
            Z += unit @ (move * root / sums - within_again).astype(G.dtype)
            out.append(Z)
        return tuple(out)

    def prune(self):
        """Drop singular values that are on the way to zero; the objective does not rise."""
        point = self.point
        if not point.rank:
            return
        between = point.between()
        # Where Newton's method would go, each by itself.
        slope = np.diagonal(between) - point.penalty
        kept = point.s + slope / np.diagonal(self._curvature) > 0
        if not kept.all():
            pruned = self._at(point.U[:, kept], point.V[:, kept])
            if pruned.objective <= point.objective:
                self._start_from(pruned)
                return
        # A proximal step within the factors is shorter, and safe.
        P, values, Qt = np.linalg.svd(np.diag(point.s) + between)
        values -= point.penalty
        kept = values > 0
        if kept.all():
            return
        root, weight = np.sqrt(point.s)[:, None], np.sqrt(values[kept])
        dtype = point.U.dtype
        pruned = self._at(
            point.U @ (P[:, kept] / root * weight).astype(dtype),
            point.V @ (Qt[kept].T / root * weight).astype(dtype),
        )
        self._start_from(pruned)

    def grow(self, left, values, right):
        """Append singular triples of the residual outside, less the penalty.

        As far along as is best for all together; the objective falls.
        """
        point, dtype = self.point, self.point.U.dtype
        excess = values - point.penalty
        change = point.observed.sampled_product(left * excess.astype(dtype), right)
        gain = dot(point.residual, change) - point.penalty * excess.sum()
        weight = np.sqrt(excess * max(gain / squared_norm(change), 1.0)).astype(dtype)
        grown = self._at(
            np.concatenate([point.U, left * weight], axis=1),
            np.concatenate([point.V, right * weight], axis=1),
        )
        self._start_from(grown)


def _line(point, directions):
    """Return the best length of a step and, of length 1, what it takes of the residual.

    Parameters
    ----------
    point : BalancedFactors
    directions : tuple of ndarray of shape (m, k) and (n, k)

    Returns
    -------
    length : float
        0 where no positive length is better.
    first, second : ndarray of shape (nnz,)
        The terms linear and quadratic in the length.
    """
    from ...._kernels.factors import line_terms

    observed, factors = point.observed, (point.U, point.V)
    left, right = (
        np.concatenate([F, D], axis=1) for F, D in zip(factors, directions, strict=True)
    )
    first, second = np.empty_like(point.residual), np.empty_like(point.residual)
    sums = np.empty((observed.shape[0], 5))
    observed.over_rows(line_terms, point.residual, left, right, first, second, sums)
    r1, r2, f11, f12, f22 = sums.sum(axis=0)
    slope = point.penalty * inner(factors, directions) - r1
    bend = point.penalty * inner(directions, directions) + f11 - 2 * r2
    # The objective along the line, less what it is at length 0.
    quartic = np.array([f22 / 2, f12, bend / 2, slope, 0.0])
    # The real part of a complex root is a length like any other.
    lengths = np.roots(np.polyder(quartic)).real
    changes = np.polyval(quartic, lengths)
    best = np.argmin(np.where(lengths > 0, changes, np.inf)) if len(lengths) else None
    if best is None or not (lengths[best] > 0 and changes[best] < 0):
        return 0.0, first, second
    return float(lengths[best]), first, second


def factors_from(start, most, observed):
    """Return the balanced factors of the `most` largest singular values of a start."""
    if start is None:
        return tuple(np.zeros((size, 0), observed.dtype) for size in observed.shape)
    U, V = start.balanced(min(most, np.count_nonzero(start.singular_values)))
    return U.astype(observed.dtype, copy=False), V.astype(observed.dtype, copy=False)


def _balanced_anew(U, V):
    """Return balanced factors of ``U V^T``, with fewer columns where some are dependent."""
    left, values, right = decompose(U, V)
    rank = numerical_rank(values, (len(values), len(values)), values.dtype)
    root = np.sqrt(values[:rank])
    return left[:, :rank] * root, right[:rank].T * root


def _balancing(U, V, s):
    """Return T and its inverse transposed such that ``U T`` and ``V T^-T`` are balanced.

    Parameters
    ----------
    U, V : ndarray of shape (m, k) and (n, k)
    s : ndarray of shape (k,)
        About their squared column norms.

    Returns
    -------
    left, right : ndarray of shape (k, k)
        T and the transpose of its inverse.
    values : ndarray of float64 of shape (k,)
        Singular values of ``U V^T``.

    None instead of them all, where columns are dependent.
    """
    # Columns of about unit length keep the Gram matrices well conditioned.
    root = np.sqrt(s)
    grams = (product64(F.T, F.T) / np.outer(root, root) for F in (U, V))
    try:
        L, K = (np.linalg.cholesky(gram) for gram in grams)
    except np.linalg.LinAlgError:
        return None
    P, values, Qt = np.linalg.svd((L.T * s) @ K)
    if values[-1] <= _LEAST_VALUE * values[0]:
        return None
    weight = np.sqrt(values)
    left = scipy.linalg.solve_triangular(L.T, P * weight) / root[:, None]
    right = scipy.linalg.solve_triangular(K.T, Qt.T * weight) / root[:, None]
    return left.astype(U.dtype), right.astype(U.dtype), values
