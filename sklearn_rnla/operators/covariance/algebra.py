"""Sums, products and powers of covariance functions."""

from collections.abc import Callable
from typing import Any

import numpy as np

from ..._typing import Array, DTypeLike
from .nodes import Covariance, PlacedColumns, ZeroColumns


class _PairCovariance(Covariance):
    """What a sum and a product of two have in common."""

    def __init__(self, one: Any, other: Any) -> None:
        super().__init__(one.n_params + other.n_params)
        self._parts = one, other
        self.has_noise: Any = one.has_noise or other.has_noise
        self.has_point_slopes: Any = one.has_point_slopes and other.has_point_slopes


class SumCovariance(_PairCovariance):
    """The sum of two."""

    @property
    def is_zero(self) -> bool:
        return all(part.is_zero for part in self._parts)

    def at(self, Z: Array) -> "_SumColumns | PlacedColumns":
        if self.is_zero:
            return ZeroColumns(len(Z), self.n_params)
        one, other = self._parts
        if one.is_zero:
            order = np.arange(other.n_params) + one.n_params
            return PlacedColumns(other.at(Z), order, self.n_params)
        if other.is_zero:
            return PlacedColumns(one.at(Z), np.arange(one.n_params), self.n_params)
        return _SumColumns(one.at(Z), other.at(Z))

    def diagonal(self, B: Array) -> Array:
        return sum(part.diagonal(B) for part in self._parts)

    def diagonal_pullback(self, B: Array, w: Array) -> Array:
        return np.concatenate([part.diagonal_pullback(B, w) for part in self._parts])

    def noise(self, B: Array) -> Array:
        return sum(part.noise(B) for part in self._parts)

    def noise_pullback(self, B: Array, w: Array) -> Array:
        return np.concatenate([part.noise_pullback(B, w) for part in self._parts])


class _SumColumns:
    def __init__(self, one: Any, other: Any) -> None:
        self._parts = one, other

    def __call__(self, B: Array, dtype: DTypeLike) -> Array:
        one, other = self._parts
        K = one(B, dtype)
        K += other(B, dtype)
        return K

    def forward(self, B: Array) -> tuple[Array, Callable[..., Any]]:
        (K1, pull1), (K2, pull2) = (part.forward(B) for part in self._parts)

        def pull(W, points=None):
            return np.append(pull1(W.copy(), points), pull2(W, points))

        return K1 + K2, pull


class ProductCovariance(_PairCovariance):
    """The product of two; of its noise, every term has a factor that is noise."""

    @property
    def is_zero(self) -> bool:
        return any(part.is_zero for part in self._parts)

    def at(self, Z: Array) -> "_ProductColumns | PlacedColumns":
        one, other = self._parts
        if self.is_zero:
            return ZeroColumns(len(Z), self.n_params)
        if one.constant is not None:
            columns = other.scaled(Z, one.constant)
            own, rest = 0, np.arange(other.n_params) + one.n_params
        elif other.constant is not None:
            columns = one.scaled(Z, other.constant)
            own, rest = one.n_params, np.arange(one.n_params)
        else:
            return _ProductColumns(one.at(Z), other.at(Z))
        fixed = len(rest) == self.n_params
        places = np.append(self.n_params if fixed else own, rest)
        return PlacedColumns(columns, places, self.n_params)

    def diagonal(self, B: Array) -> Array:
        one, other = self._parts
        return one.diagonal(B) * other.diagonal(B)

    def diagonal_pullback(self, B: Array, w: Array) -> Array:
        one, other = self._parts
        return np.append(
            one.diagonal_pullback(B, w * other.diagonal(B)),
            other.diagonal_pullback(B, w * one.diagonal(B)),
        )

    def noise(self, B: Array) -> Array:
        one, other = self._parts
        noise = other.noise(B)
        return one.diagonal(B) * noise + one.noise(B) * (other.diagonal(B) + noise)

    def noise_pullback(self, B: Array, w: Array) -> Array:
        slopes = []
        for part, factor in (self._parts, self._parts[::-1]):
            noise = factor.noise(B)
            variance = factor.diagonal(B) + noise
            slopes.append(
                part.diagonal_pullback(B, w * noise) + part.noise_pullback(B, w * variance)
            )
        return np.concatenate(slopes)


class _ProductColumns:
    def __init__(self, one: PlacedColumns, other: Any) -> None:
        self._parts = one, other

    def __call__(self, B: Array, dtype: DTypeLike) -> Array:
        one, other = self._parts
        K = one(B, dtype)
        K *= other(B, dtype)
        return K

    def forward(self, B: Array) -> tuple[Array, Callable[..., Any]]:
        (K1, pull1), (K2, pull2) = (part.forward(B) for part in self._parts)

        def pull(W, points=None):
            slopes = pull1(W * K2, points)
            W *= K1
            return np.append(slopes, pull2(W, points))

        return K1 * K2, pull


class PowerCovariance(Covariance):
    """A power."""

    def __init__(
        self, part: Covariance | ProductCovariance | SumCovariance, exponent: float
    ) -> None:
        super().__init__(part.n_params)
        self._part = part
        self._exponent = exponent
        self.has_noise: Any = part.has_noise
        self.is_zero: bool = part.is_zero and exponent > 0
        self.has_point_slopes: Any = part.has_point_slopes

    def at(self, Z: Array) -> "_PowerColumns | ZeroColumns":
        if self.is_zero:
            return ZeroColumns(len(Z), self.n_params)
        return _PowerColumns(self._part.at(Z), self._exponent)

    def diagonal(self, B: Array) -> Array:
        return self._part.diagonal(B) ** self._exponent

    def diagonal_pullback(self, B: Array, w: Array) -> Array:
        slope = _power_slope(self._part.diagonal(B), self._exponent)
        return self._part.diagonal_pullback(B, w * slope)

    def noise(self, B: Array) -> Array:
        diagonal = self._part.diagonal(B)
        variance = diagonal + self._part.noise(B)
        return variance**self._exponent - diagonal**self._exponent

    def noise_pullback(self, B: Array, w: Array) -> Array:
        diagonal = self._part.diagonal(B)
        of_diagonal = _power_slope(diagonal, self._exponent)
        of_variance = _power_slope(diagonal + self._part.noise(B), self._exponent)
        return self._part.noise_pullback(B, w * of_variance) + self._part.diagonal_pullback(
            B, w * (of_variance - of_diagonal)
        )


def _power_slope(K, exponent):
    """Return the derivative of the power; zero where it is infinite, as at zero."""
    with np.errstate(divide="ignore", invalid="ignore"):
        slope = exponent * K ** (exponent - 1)
    return np.where(np.isfinite(slope), slope, 0.0)


class _PowerColumns:
    def __init__(self, columns: Any, exponent: float) -> None:
        self._columns = columns
        self._exponent = exponent

    def __call__(self, B: Array, dtype: DTypeLike) -> Array:
        return self._columns(B, dtype) ** np.dtype(dtype).type(self._exponent)

    def forward(self, B: Array) -> tuple[Array, Callable[..., Any]]:
        K, pull_part = self._columns.forward(B)

        def pull(W, points=None):
            W *= _power_slope(K, self._exponent)
            return pull_part(W, points)

        return K**self._exponent, pull
