"""Balanced factors, and conjugate gradients on them."""

from __future__ import annotations

import numpy as np
import scipy.linalg

from .low_rank_fit import decompose, dot, inner, squared_norm
from .nuclear_gap import leading_outside, relative_gap
from .numerical_rank import numerical_rank
from .orth import product64

# Singular values below this share of the largest are dropped.
_LEAST_VALUE = 1e-12

# Curvatures below this share of the mean are taken for it.
_LEAST_CURVATURE = 1e-3

# Without a penalty, the preconditioner has this share of the largest singular value.
_LEAST_RIDGE = 1e-6


class Factors:
    """Balanced factors, ``U^T U = V^T V = diag(s)``, and the residual.

    Parameters
    ----------
    observed : Observed
        Of shape (m, n).
    U, V : ndarray of shape (m, k) and (n, k)
        Balanced; their columns orthogonal.
    penalty : float
        On ``(||U||^2 + ||V||^2) / 2``, which of balanced factors is the nuclear norm.
    """

    def __init__(self, observed, U, V, penalty):
        self.observed = observed
        self.penalty = penalty
        sides = (observed, observed.T)
        self._shares = [side.counts / max(1, side.shape[1]) for side in sides]
        self._place(U, V)

    def _place(self, U, V):
        """Go to other balanced factors, from where the search starts afresh."""
        observed = self.observed
        self.U, self.V = U, V
        self.s = np.einsum("ij,ij->j", V, V, dtype=np.float64)
        self.residual = observed.values.copy()
        if self.rank:
            self.residual -= observed.sampled_product(U, V)
        self.square = squared_norm(self.residual)
        self._last = None
        self._evaluate()
        # Squared norms of the observed entries of products of singular vectors.
        observed_squares = observed.product(np.ones_like(self.residual), V * V)
        share = product64((U * U).T, observed_squares.T) / np.outer(self.s, self.s)
        share = (share + share.T) / 2
        floor = _LEAST_CURVATURE * share.mean() if self.rank else 0.0
        self._curvature = np.maximum(share, floor)
        self._ridge = max(self.penalty, _LEAST_RIDGE * self.s.max(initial=0.0))

    @property
    def rank(self):
        """Columns of each factor."""
        return self.U.shape[1]

    @property
    def objective(self):
        """Half the squared residual, and the penalty times the nuclear norm."""
        return 0.5 * self.square + self.penalty * self.s.sum()

    def _evaluate(self):
        observed = self.observed
        self._RV = observed.product(self.residual, self.V)
        self._RtU = observed.T.product(self.residual[observed.order], self.U)

    def _units(self):
        root = np.sqrt(self.s).astype(self.U.dtype)
        return self.U / root, self.V / root

    def _between(self):
        """Return the residual between the singular vectors, of shape (k, k), in float64."""
        return product64(self.U.T, self._RV.T) / np.sqrt(np.outer(self.s, self.s))

    def outside(self, tol, width, rng):
        """Return `leading_outside` of the residual, to certify a gap of `tol`."""
        spare = 3 * tol * self.penalty
        if self.rank:
            # What it costs is about its product with the nuclear norm.
            spare = min(spare, 0.3 * tol * self.objective / self.s.sum())
        return leading_outside(
            self.observed,
            self.residual,
            *self._units(),
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
            between, rest = self._between(), 0.0
            root = np.sqrt(self.s)
            for R, F, middle in zip(
                (self._RV, self._RtU), self._units(), (between, between.T), strict=True
            ):
                left = R / root.astype(R.dtype) - F @ middle.astype(R.dtype)
                rest = max(rest, np.sqrt(squared_norm(left)))
            norm = np.linalg.norm([[np.linalg.norm(between, 2), rest], [rest, outer]], 2)
        through = inner((self.U,), (self._RV,))
        return relative_gap(self.penalty, norm, self.square, self.s.sum(), through)

    def step(self):
        """Go to the best point of a line of preconditioned conjugate gradients.

        Returns
        -------
        bool
            False where nothing on it is better.
        """
        dtype = self.U.dtype
        penalty = dtype.type(self.penalty)
        gradients = (self._RV - penalty * self.U, self._RtU - penalty * self.V)
        scaled = self._precondition(gradients)
        power = inner(scaled, gradients)
        directions = scaled
        if self._last is not None:
            before, scaled_before, power_before = self._last
            # Polak & Ribiere (1969).
            turn = dtype.type((power - inner(scaled_before, gradients)) / power_before)
            if turn > 0:
                turned = tuple(Z + turn * D for Z, D in zip(scaled, before, strict=True))
                if inner(turned, gradients) > 0:
                    directions = turned
        length, first, second = self._line(directions)
        if not length > 0:
            return False
        first *= dtype.type(length)
        second *= dtype.type(length**2)
        self.residual -= first
        self.residual -= second
        self.square = squared_norm(self.residual)
        U, V = (
            F + dtype.type(length) * D
            for F, D in zip((self.U, self.V), directions, strict=True)
        )
        balanced = _balance(U, V, self.s)
        if balanced is None:
            self._place(*_balanced(U, V))
            return True
        left, right, self.s = balanced
        self.U, self.V = U @ left, V @ right
        self._last = (
            (directions[0] @ left, directions[1] @ right),
            (scaled[0] @ left, scaled[1] @ right),
            power,
        )
        self._evaluate()
        return True

    def _precondition(self, gradients):
        """Divide gradients by about the Hessian.

        Between the singular vectors the middle matrix moves, in its own metric: scaling
        columns of a factor one by one, small singular values would not move. Outside, the
        Hessian is about diagonal if entries are everywhere alike.
        """
        root = np.sqrt(self.s)
        sums = np.add.outer(self.s, self.s)
        within = [
            product64(F.T, G.T) / root[:, None]
            for F, G in zip((self.U, self.V), gradients, strict=True)
        ]
        # Of balanced factors both are the same matrix.
        middle = (within[0] * root + (within[1] * root).T) / sums
        skew = (middle - middle.T) / 2
        bend = self._curvature
        middle = (middle - skew) / bend + skew / (bend + 2 * self.penalty / sums)
        out = []
        for G, unit, share, pull, move in zip(
            gradients, self._units(), self._shares, within, (middle, middle.T), strict=True
        ):
            Z = G - unit @ pull.astype(G.dtype)
            Z /= (np.multiply.outer(share, self.s) + self._ridge).astype(G.dtype)
            within_again = product64(unit.T, Z.T)
            Z += unit @ (move * root / sums - within_again).astype(G.dtype)
            out.append(Z)
        return tuple(out)

    def _line(self, directions):
        """Return the best length of a step and, of length 1, what it takes of the residual.

        Returns
        -------
        length : float
        first, second : ndarray of shape (nnz,)
            The terms linear and quadratic in the length.
        """
        from .._kernels.soft_impute import line_terms

        observed, factors = self.observed, (self.U, self.V)
        left, right = (
            np.concatenate([F, D], axis=1) for F, D in zip(factors, directions, strict=True)
        )
        first, second = np.empty_like(self.residual), np.empty_like(self.residual)
        sums = np.empty((observed.shape[0], 5))
        observed.over_rows(line_terms, self.residual, left, right, first, second, sums)
        r1, r2, f11, f12, f22 = sums.sum(axis=0)
        slope = self.penalty * inner(factors, directions) - r1
        bend = self.penalty * inner(directions, directions) + f11 - 2 * r2
        quartic = np.array([f22 / 2, f12, bend / 2, slope, 0.0])
        # The real part of a complex root is a length like any other.
        lengths = np.roots(np.polyder(quartic)).real
        changes = np.polyval(quartic, lengths)
        best = np.argmin(np.where(lengths > 0, changes, np.inf)) if len(lengths) else None
        if best is None or not (lengths[best] > 0 and changes[best] < 0):
            return 0.0, first, second
        return float(lengths[best]), first, second

    def prune(self):
        """Drop singular values that are on the way to zero; the objective does not rise."""
        if not self.rank:
            return
        between = self._between()
        # Where Newton's method would go, each by itself.
        slope = np.diagonal(between) - self.penalty
        kept = self.s + slope / np.diagonal(self._curvature) > 0
        if not kept.all():
            before, now = vars(self).copy(), self.objective
            self._place(self.U[:, kept], self.V[:, kept])
            if self.objective <= now:
                return
            vars(self).update(before)
        # A proximal step within the factors is shorter, and safe.
        P, values, Qt = np.linalg.svd(np.diag(self.s) + between)
        values -= self.penalty
        kept = values > 0
        if kept.all():
            return
        root, weight = np.sqrt(self.s)[:, None], np.sqrt(values[kept])
        dtype = self.U.dtype
        self._place(
            self.U @ (P[:, kept] / root * weight).astype(dtype),
            self.V @ (Qt[kept].T / root * weight).astype(dtype),
        )

    def grow(self, left, values, right):
        """Append singular triples of the residual outside, less the penalty.

        As far along as is best for all together; the objective falls.
        """
        dtype = self.U.dtype
        excess = values - self.penalty
        change = self.observed.sampled_product(left * excess.astype(dtype), right)
        gain = dot(self.residual, change) - self.penalty * excess.sum()
        weight = np.sqrt(excess * max(gain / squared_norm(change), 1.0)).astype(dtype)
        self._place(
            np.concatenate([self.U, left * weight], axis=1),
            np.concatenate([self.V, right * weight], axis=1),
        )


def factors_from(start, most, observed):
    """Return the balanced factors of the `most` largest singular values of a start."""
    if start is None:
        return tuple(np.zeros((size, 0), observed.dtype) for size in observed.shape)
    kept = min(most, np.count_nonzero(start.singular_values))
    root = np.sqrt(start.singular_values[:kept])
    U, V = start.U[:, :kept] * root, start.Vt[:kept].T * root
    return U.astype(observed.dtype, copy=False), V.astype(observed.dtype, copy=False)


def _balanced(U, V):
    """Return balanced factors of ``U V^T``, with fewer columns where some are dependent."""
    left, values, right = decompose(U, V)
    rank = numerical_rank(values, (len(values), len(values)), values.dtype)
    root = np.sqrt(values[:rank])
    return left[:, :rank] * root, right[:rank].T * root


def _balance(U, V, s):
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
