"""Minimisation within bounds, of few variables and expensive functions."""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from ..._typing import Array

# No variable moves further than this in one step.
_LONGEST_STEP = 2.0

# A step has to achieve this share of the decrease that the slope promises. It is shortened
# at most this many times before the search gives up.
_KEPT_DECREASE = 1e-4
_MOST_CUTS = 20

# A curvature along a step is mixed with that of the model if it is below this share of it.
_DAMPING = 0.2

_MOST_ITERATIONS = 500

# Gradients are differenced over this step. Curvatures are at least this share of the
# largest one.
_DIFFERENCE = 1e-2
_FLATTEST = 1e-4


class Minimum(NamedTuple):
    """Where a minimisation ended.

    Attributes
    ----------
    x : ndarray of shape (p,)
    value : float
    slope : ndarray of shape (p,)
        The gradient.
    hessian : ndarray of shape (p, p)
        The approximation built up.
    """

    x: np.ndarray
    value: float
    slope: np.ndarray
    hessian: np.ndarray


def minimize(
    function: Callable[..., Any],
    x: Array,
    bounds: Array,
    *,
    tol: float,
    hessian: Array | None = None,
    stop: Callable[..., Any] | None = None,
) -> Minimum:
    """Minimise a smooth function within bounds by a projected BFGS method.

    Parameters
    ----------
    function : callable
        ``function(x) -> (value, gradient)``; the value may be infinite.
    x : ndarray of shape (p,)
        Start, moved into the bounds.
    bounds : ndarray of shape (p, 2)
    tol : float
        Stops where a step is expected to gain less than this, and where one has.
    hessian : ndarray of shape (p, p), default=None
        Positive definite start of the approximation; None is built from the first step.
    stop : callable, default=None
        Called after each iteration; ends the search where it returns true.

    Returns
    -------
    Minimum

    Notes
    -----
    Variables at a bound that the gradient pushes against are held, the others take a
    quasi-Newton step, projected onto the bounds and shortened until it decreases enough
    (Bertsekas 1982). The update is Powell's damped one (Nocedal & Wright 2006,
    procedure 18.2), so that the approximation stays positive definite. scipy's L-BFGS-B
    cannot start from a given curvature: fits with it take 10 to 20 % more time and end at
    a bound that is lower by 1 to 2 (``python -m benchmarks gp --only gp-search``).
    """
    low, high = bounds.T
    x = np.clip(x, low, high)
    value, slope = function(x)
    B, is_guess = (np.eye(len(x)), True) if hessian is None else (hessian, False)
    if is_guess and np.isfinite(value):
        B = B * max(1.0, np.linalg.norm(slope))
    for _ in range(_MOST_ITERATIONS):
        held = ((x <= low) & (slope > 0)) | ((x >= high) & (slope < 0))
        free = np.flatnonzero(~held)
        if not slope[free].any() or not np.isfinite(value):
            break
        step = np.zeros_like(x)
        try:
            step[free] = -np.linalg.solve(B[np.ix_(free, free)], slope[free])
        except np.linalg.LinAlgError:
            B, is_guess = np.eye(len(x)) * max(1.0, np.linalg.norm(slope)), True
            step[free] = -slope[free] / B[0, 0]
        step *= min(1.0, _LONGEST_STEP / np.abs(step).max())
        if -slope @ step / 2 < tol and not is_guess:
            break
        found = _line_search(function, x, value, slope, step, low, high)
        if found is None:
            break
        next_x, next_value, next_slope = found
        moved, y, gained = next_x - x, next_slope - slope, value - next_value
        x, value, slope = next_x, next_value, next_slope
        if is_guess and y @ moved > 0:
            B, is_guess = np.eye(len(x)) * (y @ y) / (y @ moved), False
        B = _updated(B, moved, y)
        if (stop is not None and stop()) or gained < tol / 10:
            break
    return Minimum(x=x, value=value, slope=slope, hessian=B)


def curvature(function: Callable[..., Any], minimum: Minimum, bounds: Array) -> Array:
    """Return a positive definite Hessian by differences of gradients.

    Parameters
    ----------
    function : callable
        As in `minimize`.
    minimum : Minimum
        Where.
    bounds : ndarray of shape (p, 2)

    Returns
    -------
    ndarray of shape (p, p)
        Negative eigenvalues are made positive, and small ones not less than a share of
        the largest.
    """
    x, p = minimum.x, len(minimum.x)
    H = np.empty((p, p))
    for i in range(p):
        # The step leads away from the nearer bound.
        h = _DIFFERENCE if x[i] - bounds[i, 0] < bounds[i, 1] - x[i] else -_DIFFERENCE
        moved = x.copy()
        moved[i] += h
        value, slope = function(moved)
        H[i] = (slope - minimum.slope) / h if np.isfinite(value) else minimum.hessian[i]
    values, vectors = np.linalg.eigh((H + H.T) / 2)
    values = np.abs(values)
    values = np.maximum(values, _FLATTEST * values.max(initial=0.0))
    if not (len(values) and values.min() > 0):
        return minimum.hessian
    return (vectors * values) @ vectors.T


def _line_search(function, x, value, slope, step, low, high):
    """Return the first ``(x, value, slope)`` along the step that decreases enough."""
    length = 1.0
    for _ in range(_MOST_CUTS):
        tried = np.clip(x + length * step, low, high)
        promised = slope @ (tried - x)
        found, found_slope = function(tried)
        if found <= value + _KEPT_DECREASE * promised:
            return tried, found, found_slope
        # The minimum of the parabola through both values and the slope.
        excess = found - value - promised
        cut = -promised / (2 * excess) if np.isfinite(excess) and excess > 0 else 0.1
        length *= np.clip(cut, 0.1, 0.5)
    return None


def _updated(B, s, y):
    """Return the damped BFGS update of B for a step s that changed the gradient by y."""
    Bs = B @ s
    curvature = s @ Bs
    if curvature <= 0:
        return B
    if s @ y < _DAMPING * curvature:
        mix = (1 - _DAMPING) * curvature / (curvature - s @ y)
        y = mix * y + (1 - mix) * Bs
    return B - np.outer(Bs, Bs) / curvature + np.outer(y, y) / (s @ y)
