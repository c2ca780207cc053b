"""Functions of squared scaled distances, and their derivatives, in place."""

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from scipy.special import gamma, kv

from ..._typing import Array

# In place of a zero under a root, where something is divided by the root.
_TINY = 1e-300


@dataclass(frozen=True)
class Profile:
    """A function ``a f(t)`` of the squared scaled distance t.

    `evaluate` makes, in place, values of ``factor t + offset``, and writes to `n_kept`
    further arrays what `weigh` needs to make, in place, weights times the derivative
    but for `slope`, which is a number.

    Parameters
    ----------
    log_amplitude : float, default=0.0
        Logarithm of a.
    """

    log_amplitude: float = 0.0
    factor: ClassVar[float] = 1.0
    slope: ClassVar[float] = 1.0
    n_kept = 0

    @property
    def offset(self) -> float:
        """What the product adds to the distances."""
        return 0.0

    @property
    def bound(self) -> float:
        """What rounding must not carry the product beyond."""
        return self.offset

    def steepness(self, t: Array) -> Any:
        """Return a bound of ``|f'|`` from t on."""
        raise NotImplementedError

    def evaluate(self, T: Array, kept: Array) -> None:
        """Make values of the products T, in place."""
        raise NotImplementedError

    def weigh(self, W: Array, K: Array, kept: Array) -> tuple[float, float]:
        """Multiply weights by the derivative; return those of log a and of the shape.

        Here for a profile without a shape, which keeps its derivative.
        """
        total = contraction(W, K)
        W *= kept[0]
        return total, 0.0


class SquaredExponential(Profile):
    """``exp(-t / 2)``, the amplitude in the exponent, and so in the product."""

    factor: ClassVar[float] = -0.5
    slope: ClassVar[float] = -0.5

    @property
    def offset(self) -> float:
        return self.log_amplitude

    def steepness(self, t: float) -> float:
        return 0.5 * np.exp(-0.5 * t)

    def evaluate(self, T: Array, kept: Array) -> None:
        np.exp(T, out=T)

    def weigh(self, W: Array, K: Array, kept: Array) -> tuple[float, float]:
        W *= K
        return W.sum(), 0.0


class Matern12(Profile):
    """``exp(-s)`` with ``s^2 = t``."""

    slope: ClassVar[float] = -0.5
    n_kept = 1

    @property
    def bound(self) -> float:
        return _TINY

    def steepness(self, t: float) -> float:
        s = np.sqrt(t)
        return 0.5 * np.exp(-s) / s if s > 0 else np.inf

    def evaluate(self, T: Array, kept: Array) -> None:
        s = kept[0]
        np.sqrt(T, out=s)
        np.subtract(self.log_amplitude, s, out=T)
        np.exp(T, out=T)

    def weigh(self, W: Array, K: Array, kept: Array) -> tuple[float, float]:
        W *= K
        total = W.sum()
        W /= kept[0]
        return total, 0.0


class Matern32(Profile):
    """``(1 + s) exp(-s)`` with ``s^2 = 3 t``, of which ``exp(-s)`` is kept."""

    factor: ClassVar[float] = 3.0
    slope: ClassVar[float] = -1.5
    n_kept = 1

    def steepness(self, t: float) -> float:
        return 1.5 * np.exp(-np.sqrt(3 * t))

    def evaluate(self, T: Array, kept: Array) -> None:
        s, e = np.sqrt(T, out=T), kept[0]
        np.subtract(self.log_amplitude, s, out=e)
        np.exp(e, out=e)
        T *= e
        T += e


class Matern52(Profile):
    """``(1 + s + s^2 / 3) exp(-s)`` with ``s^2 = 5 t``, of which two terms are kept."""

    factor: ClassVar[float] = 5.0
    slope: ClassVar[float] = -5 / 6
    n_kept = 1

    def steepness(self, t: float) -> float:
        s = np.sqrt(5 * t)
        return 5 / 6 * (1 + s) * np.exp(-s)

    def evaluate(self, T: Array, kept: Array) -> None:
        s, e = np.sqrt(T, out=T), kept[0]
        np.subtract(self.log_amplitude, s, out=e)
        np.exp(e, out=e)
        third = s * e
        e += third
        third *= 1 / 3
        T *= third
        T += e


@dataclass(frozen=True)
class Matern(Profile):
    """``c s^nu K_nu(s)`` with ``s^2 = 2 nu t``; ``-c nu s^(nu - 1) K_(nu - 1)(s)`` is kept.

    The derivative is Abramowitz & Stegun (1964), 9.6.28, for the modified Bessel
    functions of the second kind.
    """

    nu: float = 1.0
    n_kept = 1

    @property
    def factor(self) -> float:
        return 2 * self.nu

    @property
    def bound(self) -> float:
        # From here on to zero the value does not change, or, for small nu, is cut off.
        return 1e-18 if self.nu >= 1 else 1e-32

    @property
    def _c(self):
        return 2 ** (1 - self.nu) / gamma(self.nu)

    def _slope(self, s):
        nu = self.nu
        return -self._c * nu * s ** (nu - 1) * kv(nu - 1, s)

    def steepness(self, t: float) -> float:
        return -self._slope(np.sqrt(max(self.factor * t, self.bound)))

    def evaluate(self, T: Array, kept: Array) -> None:
        s = np.sqrt(T, out=T)
        amplitude = np.exp(self.log_amplitude)
        np.multiply(self._slope(s), amplitude, out=kept[0])
        T[...] = (amplitude * self._c) * s**self.nu * kv(self.nu, s)


@dataclass(frozen=True)
class RationalQuadratic(Profile):
    """``q^-alpha`` with ``q = 1 + t / (2 alpha)``; its logarithm and inverse are kept."""

    alpha: float = 1.0
    slope: ClassVar[float] = -0.5
    n_kept = 2

    @property
    def factor(self) -> float:
        return 0.5 / self.alpha

    def steepness(self, t: float) -> float:
        return 0.5 * (1 + self.factor * t) ** (-self.alpha - 1)

    def evaluate(self, T: Array, kept: Array) -> None:
        logarithm, inverse = kept
        T += 1
        np.log(T, out=logarithm)
        np.divide(1, T, out=inverse)
        np.multiply(logarithm, -self.alpha, out=T)
        T += self.log_amplitude
        np.exp(T, out=T)

    def weigh(self, W: Array, K: Array, kept: Array) -> tuple[float, float]:
        logarithm, inverse = kept
        W *= K
        total, by_logarithm = W.sum(), contraction(W, logarithm)
        W *= inverse
        return total, self.alpha * (total - W.sum() - by_logarithm)


@dataclass(frozen=True)
class Periodic(Profile):
    """``exp(-2 sin^2(s) / l^2)`` with ``s^2 = t``, distances scaled by period over pi.

    Both s and its sine are kept.
    """

    length_scale: float = 1.0
    n_kept = 2

    @property
    def slope(self) -> float:
        return -2 / self.length_scale**2

    @property
    def bound(self) -> float:
        return _TINY

    def steepness(self, t: float) -> float:
        return -self.slope / max(1.0, np.sqrt(t))

    def evaluate(self, T: Array, kept: Array) -> None:
        s, sine = kept
        np.sqrt(T, out=s)
        np.sin(s, out=sine)
        np.multiply(sine, sine, out=T)
        T *= self.slope
        T += self.log_amplitude
        np.exp(T, out=T)

    def weigh(self, W: Array, K: Array, kept: Array) -> tuple[float, float]:
        s, sine = kept
        W *= K
        total = W.sum()
        W *= sine
        by_square = contraction(W, sine)
        W *= np.cos(s)
        W /= s
        return total, -2 * self.slope * by_square


def contraction(W: Array, K: Array) -> float:
    """Return ``sum_ij W_ij K_ij``."""
    return np.einsum("ij,ij->", W, K)
