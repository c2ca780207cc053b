"""Completion of a matrix with a penalty on the nuclear norm."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import scipy.linalg

from .orth import extend_rows, product64

# Vectors of a block of the certificate; blocks before the rank grows by much, before a
# bound is believed, and at most.
_BLOCK, _GROWTH_BLOCKS, _LEAST_BLOCKS, _MOST_BLOCKS = 8, 3, 8, 60

# Probability that the certificate is wrong.
_FAILURE = 1e-10

# Directions whose excess over the penalty is this share of the largest one's are appended
# together; all, where none exceeds it by more than _NEAR of it.
_LARGE, _NEAR = 0.5, 0.1

# Steps before the rank may grow again; between looks at which singular values vanish.
_GROWTH_STEPS, _PRUNE_STEPS = 8, 4

# Steps without descent after which only rounding is left.
_STALL = 40

# A duality gap of less than this many eps is rounding.
_ROUNDING = 50

# Up to this many of the fewer of rows and columns, where at least this share of the
# entries is observed, or where the matrix is as small as this, it is filled in.
_NARROW, _SHARE, _SMALL = 160, 0.15, 2**14

# Singular values below this share of the largest are dropped.
_LEAST_VALUE = 1e-12

# Curvatures below this share of the mean are taken for it.
_LEAST_CURVATURE = 1e-3

# Below this penalty, relative to the largest singular value, squaring loses too much.
_GRAM_LIMIT = 1e-5

# Filled in, the gap is evaluated after every so many steps.
_GAP_STEPS = 4

# Steps over which the change of the residual counts.
_SETTLED = 3

# Without a penalty, the preconditioner has this share of the largest singular value.
_LEAST_RIDGE = 1e-6


class Completion(NamedTuple):
    """A low-rank matrix ``U diag(singular_values) Vt`` fitted to observed entries.

    Attributes
    ----------
    U : ndarray of shape (m, k)
        Orthonormal columns.
    singular_values : ndarray of shape (k,)
        Descending.
    Vt : ndarray of shape (k, n)
        Orthonormal rows.
    objective : float
        What was minimised.
    gap : float
        Bound on how far the objective is above its minimum, relative to the objective;
        infinity where there is none.
    n_iter : int
        Steps taken.
    converged : bool
        Whether the tolerance was met.
    history : ndarray of shape (n_iter + 1,)
        The objective before the first and after each.
    """

    U: np.ndarray
    singular_values: np.ndarray
    Vt: np.ndarray
    objective: float
    gap: float
    n_iter: int
    converged: bool
    history: np.ndarray


def soft_impute(
    observed,
    penalty,
    *,
    max_rank=None,
    tol=1e-6,
    max_iter=1000,
    start=None,
    rng,
    report=None,
):
    """Minimise ``1/2 sum_observed (x - m)^2 + penalty ||M||_*``.

    Parameters
    ----------
    observed : Observed
        Of shape (m, n).
    penalty : float
        Positive: without a penalty there are many minima, all zero.
    max_rank : int, default=None
        Most singular values, at most min(m, n), which None means. Where it is too small,
        the minimum is a local one over matrices of that rank, and `gap` tells what the
        limit costs at most.
    tol : float, default=1e-6
        Duality gap, relative to the objective, at which to stop; at least 50 eps.
    max_iter : int, default=1000
        Most steps.
    start : Completion, default=None
        Where to start, such as the solution for a larger penalty; None is zero.
    rng : numpy.random.Generator
        Draws the start vectors of the certificate.
    report : callable, default=None
        Called after each step; a true answer asks to stop.

    Returns
    -------
    Completion

    Notes
    -----
    The minimum over balanced factors ``U V^T`` of penalty ``(||U||^2 + ||V||^2) / 2``
    (Hastie, Mazumder, Lee & Zadeh 2015) by conjugate gradients, with the best step along
    each line, a quartic. The preconditioner moves the middle matrix between the singular
    vectors in the metric of the completed matrix, as Riemannian methods do (Mishra, Meyer,
    Bach & Sepulchre 2013), and scales the rest by counts of entries. A step is about
    ``10 nnz k + 20 (m + n) k^2`` flops.

    The residual, scaled to spectral norm `penalty`, is dual feasible. Its norm is that of a
    part between the factors, which is small and known, and of one outside of them, which
    block Lanczos bounds with a probability of ``1 - 1e-10`` (Kuczynski & Wozniakowski 1992)
    or, once it is within a few percent, by its residual. Directions outside that exceed the
    penalty are appended to the factors; those within that shrink to zero are dropped.

    Matrices with few columns or rows are filled in: proximal steps (Mazumder, Hastie &
    Tibshirani 2010), accelerated, restarted where the objective rises.
    """
    tol = max(tol, _ROUNDING * np.finfo(observed.dtype).eps)
    most = min(observed.shape) if max_rank is None else max_rank
    if filled_in_pays(observed):
        return fill_in(
            observed, penalty, most, tol=tol, max_iter=max_iter, start=start, report=report
        )
    fit = Factors(observed, *_factors(start, most, observed), penalty)
    history = [fit.objective]
    fresh, asked = 0, False
    while True:
        left, values, right, bound = fit.outside(tol, max(_BLOCK, fresh), rng)
        gap = fit.gap(bound)
        if asked or len(history) > max_iter or gap <= tol:
            break
        excess = values - penalty
        most_excess = excess.max(initial=0.0)
        # The solution without the first few directions would have others, which go again.
        least = _LARGE * most_excess if most_excess > _NEAR * penalty else 0.0
        large = (excess > 0) & (excess >= least)
        fresh = min(np.count_nonzero(large), most - fit.rank)
        if fresh:
            fit.grow(left[:, :fresh], values[:fresh], right[:, :fresh])
        # As long as directions are missing, more accuracy is of no use.
        goal = max(0.5 * tol, 0.1 * gap) if fresh else 0.5 * tol
        before, rank = len(history), fit.rank - fresh
        limit = min(max_iter, before + _GROWTH_STEPS - 1 if fresh else max_iter)
        stuck = False
        while len(history) <= limit and fit.rank and fit.gap(penalty) > goal:
            stuck = not fit.step()
            if stuck:
                break
            history.append(fit.objective)
            asked = report is not None and bool(report())
            stuck = stalled(history[before - 1 :], observed.dtype)
            if asked or stuck:
                break
            if len(history) % _PRUNE_STEPS == 0:
                fit.prune()
        fit.prune()
        history[-1] = fit.objective
        unchanged = len(history) == before and fit.rank == rank
        asked = asked or unchanged or (stuck and not fresh)
    stationary = most == fit.rank and fit.gap(0.0) <= tol
    return completion(fit.U, fit.V, gap, history, gap <= tol or stationary)


def soft_impute_path(observed, penalties, *, rng, start=None, **params):
    """Yield a `Completion` for each penalty, each the start of the next.

    Parameters
    ----------
    observed : Observed
    penalties : iterable of float
        Falling, from `largest_penalty` or below, for the least work.
    rng : numpy.random.Generator
    start : Completion, default=None
        Where to start the first.
    **params : dict
        As for `soft_impute`.

    Yields
    ------
    Completion
    """
    for penalty in penalties:
        start = soft_impute(observed, penalty, start=start, rng=rng, **params)
        yield start


def largest_penalty(observed, *, rng):
    """Return the least penalty whose solution is zero: the norm of the zero-filled matrix.

    Parameters
    ----------
    observed : Observed
    rng : numpy.random.Generator

    Returns
    -------
    float
    """
    U, V = (np.zeros((size, 0), observed.dtype) for size in observed.shape)
    accuracy = max(1e-9, _ROUNDING * np.finfo(observed.dtype).eps)
    found = leading_outside(observed, observed.values, U, V, _BLOCK, rng, accuracy=accuracy)
    return float(found[1].max(initial=0.0))


def filled_in_pays(observed):
    """Return whether steps on the whole matrix are the sooner ones."""
    m, n = observed.shape
    if observed.nnz == m * n or m * n <= _SMALL:
        return True
    return min(m, n) <= _NARROW and observed.nnz >= _SHARE * m * n


def leading_outside(
    observed, residual, U, V, width, rng, *, accuracy, enough=0.0, above=np.inf
):
    """Return leading singular triples of ``(I - U U^T) R (I - V V^T)``.

    Block Lanczos from random vectors, all kept orthogonal.

    Parameters
    ----------
    observed : Observed
        Of shape (m, n).
    residual : ndarray of shape (nnz,)
        R.
    U, V : ndarray of shape (m, k) and (n, k)
        Orthonormal columns.
    width : int
        Vectors of a block.
    rng : numpy.random.Generator
    accuracy : float
        Relative error of the norm at which to stop.
    enough : float, default=0.0
        Stop when the norm is known to be at most that.
    above : float, default=inf
        Stop early when it is more than that.

    Returns
    -------
    left : ndarray of shape (m, l)
    values : ndarray of float64 of shape (l,)
        Descending, none above the true ones.
    right : ndarray of shape (n, l)
    bound : float
        What the norm is at most, with high probability.
    """
    n, rank = V.shape
    turned = residual[observed.order]
    basis = np.ascontiguousarray(V.T)
    width = min(width, n - rank)
    block = extend_rows(basis, rng.standard_normal((width, n)).astype(V.dtype))
    likely = np.log(1.648 * np.sqrt(n)) - np.log(_FAILURE) / max(width, 1)
    products, bound, values = [], 0.0, np.zeros(0)
    while len(block):
        basis = np.concatenate([basis, block])
        Y = observed.product(residual, np.ascontiguousarray(block.T))
        Y -= U @ (U.T @ Y)
        products.append(Y)
        Z = observed.T.product(turned, Y)
        block = extend_rows(basis, Z.T)
        stacked = np.concatenate(products, axis=1)
        squares, P = np.linalg.eigh(product64(stacked.T, stacked.T))
        values, P = np.sqrt(np.maximum(squares[::-1], 0)), P[:, ::-1]
        remainder = block @ Z @ P[-Z.shape[1] :, 0].astype(Z.dtype)
        bound = np.sqrt(values[0] ** 2 + np.linalg.norm(remainder))
        # The vectors of the block are independent, and the space of any one would do.
        slack = likely / (2 * len(products) - 1)
        sure = values[0] / np.sqrt(1 - slack**2) if slack < 1 else np.inf
        trusted = len(products) >= _LEAST_BLOCKS or not len(block)
        if trusted and (
            min(bound, sure) <= max(enough, (1 + accuracy) * values[0])
            or values[0] > enough > 0
        ):
            bound = min(bound, sure)
            break
        if sure <= enough:
            bound = sure
            break
        if len(products) == _MOST_BLOCKS or (
            values[0] > above and len(products) >= _GROWTH_BLOCKS
        ):
            break
    kept = np.count_nonzero(values > np.sqrt(np.finfo(V.dtype).eps) * values.max(initial=0))
    values = values[:kept]
    if not kept:
        return U[:, :0], values, V[:, :0], bound
    P = P[:, :kept]
    left = stacked @ (P / values).astype(V.dtype)
    return left, values, basis[rank:].T @ P.astype(V.dtype), bound


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
        self.square = _square(self.residual)
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
                rest = max(rest, np.sqrt(_square(left)))
            norm = np.linalg.norm([[np.linalg.norm(between, 2), rest], [rest, outer]], 2)
        through = _inner((self.U,), (self._RV,))
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
        power = _inner(scaled, gradients)
        directions = scaled
        if self._last is not None:
            before, scaled_before, power_before = self._last
            # Polak & Ribiere (1969).
            turn = dtype.type((power - _inner(scaled_before, gradients)) / power_before)
            if turn > 0:
                turned = tuple(Z + turn * D for Z, D in zip(scaled, before, strict=True))
                if _inner(turned, gradients) > 0:
                    directions = turned
        length, first, second = self._line(directions)
        if not length > 0:
            return False
        first *= dtype.type(length)
        second *= dtype.type(length**2)
        self.residual -= first
        self.residual -= second
        self.square = _square(self.residual)
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
        slope = self.penalty * _inner(factors, directions) - r1
        bend = self.penalty * _inner(directions, directions) + f11 - 2 * r2
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
        gain = _dot(self.residual, change) - self.penalty * excess.sum()
        weight = np.sqrt(excess * max(gain / _square(change), 1.0)).astype(dtype)
        self._place(
            np.concatenate([self.U, left * weight], axis=1),
            np.concatenate([self.V, right * weight], axis=1),
        )


def fill_in(observed, penalty, most, *, tol, max_iter, start=None, report=None):
    """Complete a matrix by steps on all of it, filled in with what they predict.

    Parameters
    ----------
    observed : Observed
        Of shape (m, n).
    penalty : float
        By which singular values shrink.
    most : int
        How many are kept.
    tol : float
        Duality gap at which to stop; without a penalty as in `iterative_svd`.
    max_iter : int
    start : Completion, default=None
    report : callable, default=None

    Returns
    -------
    Completion
    """
    side = observed if observed.shape[0] >= observed.shape[1] else observed.T
    m, n = side.shape
    x, places = side.values, side.rows.astype(np.int64) * n + side.indices
    whole = observed.nnz == m * n
    left, right = _factors(start, most, observed)
    if side is not observed:
        left, right = right, left
    M = left @ right.T
    before, momentum, gap, converged = M, 1.0, np.inf, False
    residual = x - M.ravel()[places]
    total = np.einsum("ij,ij->", left, left, dtype=np.float64)
    history = [0.5 * _square(residual) + penalty * total]
    scale, rounding = np.sqrt(_square(x)), np.finfo(x.dtype).eps
    while len(history) <= max_iter and not converged:
        after = (1 + np.sqrt(1 + 4 * momentum**2)) / 2
        Y = M + x.dtype.type((momentum - 1) / after) * (M - before)
        Z = Y.copy()
        Z.ravel()[places] = x
        values, V = _right_vectors(Z, penalty, whole)
        new = values - penalty
        kept = min(most, np.count_nonzero(new > 0))
        new, V = new[:kept], V[:, :kept]
        shrunk = Z @ (V * (new / values[:kept])).astype(x.dtype)
        moved = shrunk @ V.T.astype(x.dtype)
        rest = x - moved.ravel()[places]
        square = _square(rest)
        objective = 0.5 * square + penalty * new.sum()
        if momentum > 1 and objective > history[-1] * (1 + rounding):
            momentum, before = 1.0, M
            continue
        # Where the step turns against the last one, too, which rounding hides less
        # (O'Donoghue & Candes 2015).
        Y -= moved
        turns = np.vdot(Y, moved - M) > 0
        before, M, momentum = M, moved, 1.0 if turns else after
        left, right = shrunk, V.astype(x.dtype)
        history.append(objective)
        asked = report is not None and report()
        last = asked or len(history) > max_iter or stalled(history, x.dtype)
        if penalty == 0:
            converged = whole or settled(history, scale, tol)
        elif last or whole or len(history) % _GAP_STEPS == 2:
            R = np.zeros((m, n), x.dtype)
            R.ravel()[places] = rest
            norm = np.sqrt(np.linalg.eigvalsh(product64(R.T, R.T))[-1].clip(0))
            through = _dot(rest, x) - square
            gap = relative_gap(penalty, norm, square, new.sum(), through)
            converged = gap <= tol
        if last:
            break
    if side is not observed:
        left, right = right, left
    return completion(left, right, gap, history, converged)


def _right_vectors(Z, penalty, exact):
    """Return singular values and right singular vectors, the largest first."""
    if not exact:
        squares, V = np.linalg.eigh(product64(Z.T, Z.T))
        values = np.sqrt(np.maximum(squares[::-1], 0))
        if penalty == 0 or penalty > _GRAM_LIMIT * values[0]:
            return values, V[:, ::-1]
    _, values, Vt = scipy.linalg.svd(Z, full_matrices=False, check_finite=False)
    return values.astype(np.float64), Vt.T.astype(np.float64)


def relative_gap(penalty, norm, square, total, through):
    """Return the duality gap of a residual scaled to spectral norm `penalty`.

    Parameters
    ----------
    penalty : float
    norm, square : float
        Of the residual: its spectral norm, its squared norm.
    total : float
        Nuclear norm of the matrix.
    through : float
        Inner product of the residual with the matrix.

    Returns
    -------
    float
        Relative to the objective.
    """
    objective = 0.5 * square + penalty * total
    if objective == 0:
        return 0.0
    shrunk = min(1.0, penalty / norm) if norm > 0 else 1.0
    gap = 0.5 * (1 - shrunk) ** 2 * square + penalty * total - shrunk * through
    return float(max(gap, 0.0) / objective)


def stalled(history, dtype):
    """Return whether an objective does not fall any more but by rounding."""
    if len(history) <= _STALL:
        return False
    return history[-1 - _STALL] - history[-1] <= np.finfo(dtype).eps * history[-1]


def settled(history, scale, tol):
    """Return whether the residual is small, or has changed little in a few steps."""
    norms = np.sqrt(2 * np.array(history[-1 - _SETTLED :]))
    if norms[-1] <= tol * scale:
        return True
    return len(norms) > _SETTLED and norms[0] - norms[-1] <= _SETTLED * tol * norms[-1]


def completion(left, right, gap, history, converged):
    """Return the `Completion` of ``left right^T``."""
    return Completion(
        *_decompose(left, right),
        float(history[-1]),
        float(gap),
        len(history) - 1,
        bool(converged),
        np.array(history),
    )


def _decompose(left, right):
    """Return U, s, Vt of ``left right^T``."""
    P, L = np.linalg.qr(left)
    Q, R = np.linalg.qr(right)
    U, values, Vt = np.linalg.svd(L @ R.T)
    return P @ U, values, Vt @ Q.T


def _balanced(U, V):
    """Return balanced factors of ``U V^T``, with fewer columns where some are dependent."""
    left, values, right = _decompose(U, V)
    kept = values > len(values) * np.finfo(values.dtype).eps * values.max(initial=0.0)
    root = np.sqrt(values[kept])
    return left[:, kept] * root, right[kept].T * root


def _factors(start, most, observed):
    """Return the balanced factors of the `most` largest singular values of a start."""
    if start is None:
        return tuple(np.zeros((size, 0), observed.dtype) for size in observed.shape)
    kept = min(most, np.count_nonzero(start.singular_values))
    root = np.sqrt(start.singular_values[:kept])
    U, V = start.U[:, :kept] * root, start.Vt[:kept].T * root
    return U.astype(observed.dtype, copy=False), V.astype(observed.dtype, copy=False)


def _square(x):
    """Return the sum of squares, in float64."""
    return _dot(x.ravel(), x.ravel())


def _dot(x, y):
    if x.dtype == np.float64:
        return float(np.dot(x, y))
    return float(np.einsum("i,i->", x, y, dtype=np.float64))


def _inner(left, right):
    """Return the sum of the inner products of pairs of matrices, in float64."""
    return sum(
        float(np.einsum("ij,ij->", A, B, dtype=np.float64))
        for A, B in zip(left, right, strict=True)
    )


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
