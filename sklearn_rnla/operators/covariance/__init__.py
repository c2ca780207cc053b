"""Covariances of ``sklearn.gaussian_process.kernels``, and pullbacks to their parameters.

scikit-learn's kernels give gradients of square matrices alone, an array of shape
(n, n, n_params). Here a kernel becomes a node, and a node on landmarks becomes columns:
``K = k(B, Z)`` of row blocks B, with the function that takes weights W of the entries to
``sum_ij W_ij dK_ij / dtheta``.
"""

from functools import singledispatch

import numpy as np
from sklearn.gaussian_process import kernels as gp

from . import profiles
from .algebra import PowerCovariance, ProductCovariance, SumCovariance
from .nodes import (
    AnyCovariance,
    ConstantCovariance,
    Covariance,
    DotProductCovariance,
    WhiteCovariance,
)
from .stationary import StationaryCovariance

__all__ = ["Covariance", "covariance"]


@singledispatch
def covariance(kernel):
    """Return the node of a kernel.

    Further classes of kernels may be registered, with nodes that inherit `Covariance`.

    Parameters
    ----------
    kernel : kernel object of ``sklearn.gaussian_process.kernels``
        Where there is no node for its class, or the class overrides the values of the one
        there is a node for, gradients come from scikit-learn's, in small tiles.

    Returns
    -------
    Covariance

    Raises
    ------
    TypeError
        Where `kernel` is not a kernel object.
    ValueError
        Where a part of it has several outputs.
    """
    if not hasattr(kernel, "clone_with_theta"):
        raise TypeError(
            f"kernel={kernel!r} must be a kernel of sklearn.gaussian_process.kernels."
        )
    return AnyCovariance(kernel)


def _register(kind):
    """Register a function for a class, but for subclasses that have other values."""

    def decorate(make):
        @covariance.register(kind)
        def node(kernel):
            same = type(kernel).__call__ is kind.__call__ and type(kernel).diag is kind.diag
            return (make if same else AnyCovariance)(kernel)

        return make

    return decorate


@covariance.register(gp.CompoundKernel)
def _compound(kernel):
    raise ValueError(
        f"CompoundKernel has several outputs, kernel={kernel!r} must have one."
    )


_register(gp.ConstantKernel)(ConstantCovariance)
_register(gp.WhiteKernel)(WhiteCovariance)
_register(gp.DotProduct)(DotProductCovariance)


@_register(gp.Sum)
def _sum(kernel):
    return SumCovariance(covariance(kernel.k1), covariance(kernel.k2))


@_register(gp.Product)
def _product(kernel):
    return ProductCovariance(covariance(kernel.k1), covariance(kernel.k2))


@_register(gp.Exponentiation)
def _power(kernel):
    return PowerCovariance(covariance(kernel.kernel), kernel.exponent)


@_register(gp.PairwiseKernel)
def _pairwise(kernel):
    return AnyCovariance(kernel, has_noise=False)


@_register(gp.RBF)
def _rbf(kernel):
    return StationaryCovariance(kernel, profiles.SquaredExponential(), "length_scale")


@_register(gp.Matern)
def _matern(kernel):
    closed = {
        0.5: profiles.Matern12,
        1.5: profiles.Matern32,
        2.5: profiles.Matern52,
        np.inf: profiles.SquaredExponential,
    }
    nu = float(kernel.nu)
    profile = closed[nu]() if nu in closed else profiles.Matern(nu=nu)
    return StationaryCovariance(kernel, profile, "length_scale")


@_register(gp.RationalQuadratic)
def _rational_quadratic(kernel):
    profile = profiles.RationalQuadratic(alpha=float(kernel.alpha))
    return StationaryCovariance(kernel, profile, "length_scale", "alpha")


@_register(gp.ExpSineSquared)
def _exp_sine_squared(kernel):
    profile = profiles.Periodic(length_scale=float(kernel.length_scale))
    return StationaryCovariance(kernel, profile, "periodicity", "length_scale", 1 / np.pi)
