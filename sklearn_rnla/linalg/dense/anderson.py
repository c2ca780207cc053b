"""Anderson acceleration of a fixed-point iteration."""

from typing import Any

import numpy as np

from ..._typing import Array, Float

# Steps remembered, and the least singular value, relative to the largest, of their span.
_MEMORY, _CUTOFF = 8, 1e-8


class AndersonSteps:
    """Steps of an iteration ``x <- x + f(x)``, from those made before.

    Notes
    -----
    Anderson (1965), type II: the combination of the last steps whose residual is least. It
    is a quasi-Newton step: it estimates how far the fixed point is.
    """

    def __init__(self) -> None:
        self.forget()

    def forget(self) -> None:
        """Forget the steps made so far."""
        self._last = None
        self._moves, self._changes = [], []

    def __call__(self, x: Array, f: Array, scale: Float = 1.0) -> Any:
        """Return the accelerated step from x, of which `f` is the plain step.

        Residuals are compared times `scale`, of the shape of x.
        """
        if self._last is not None:
            self._moves.append(x - self._last[0])
            self._changes.append(f - self._last[1])
            del self._moves[:-_MEMORY], self._changes[:-_MEMORY]
        self._last = x, f
        if not self._moves:
            return f
        scaled = np.stack([scale * change for change in self._changes], axis=1)
        weights = np.linalg.lstsq(scaled, scale * f, rcond=_CUTOFF)[0]
        steps = zip(weights, self._moves, self._changes, strict=True)
        return f - sum(weight * (move + change) for weight, move, change in steps)
