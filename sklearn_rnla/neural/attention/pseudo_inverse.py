"""Pseudo-inverses of row-stochastic matrices by products alone."""

from typing import Any

import numpy as np

# As many steps resolve singular values down to rounding; more only amplify it.
_MOST_STEPS = 40

# Published checkpoints were trained with as many.
_STEPS_OF_CHECKPOINTS = 6

# The iteration starts with the largest singular value taken to this at most: below 2, it
# converges, and small ones are then resolved faster.
_START = 1.9

# Products with a vector that bound the largest singular value.
_BOUND_STEPS = 3


def newton_pinv(space: Any, A: Any, tol: float) -> Any:
    """Return pseudo-inverses, up to a part of A of relative norm `tol`.

    Parameters
    ----------
    space : NumpyArrays or Tensors
    A : array of shape (..., m, m)
        Not negative.
    tol : float

    Returns
    -------
    array of shape (..., m, m)
        Z with ``||A Z A - A||_F <= tol ||A||_F``.

    Notes
    -----
    The iteration of third order ``Z <- Z (3 I - A Z (3 I - A Z))``, three products of m x m
    a step, from a multiple of ``A^T``. It resolves large singular values first, so that a
    stop at `tol` acts as a cutoff. Each matrix has its own start and stops by itself;
    one whose residual stops falling, as rounding grows threefold a step where A is
    singular, gets the pseudo-inverse by singular values, those below `tol` of the
    largest left out. Where tensors are traced, the steps are as many as any matrix may
    need, and there is no such way out: the last iterate whose residual fell is taken.

    Xiong et al. (2021, equation 14) take four products a step that resolve 13 / 12 as
    much, from ``A^T / (||A||_1 ||A||_inf)``, with the largest norms of the batch.
    """
    return space.each(lambda matrices: _iterate(space, matrices, tol), A)


def _iterate(space, A, tol):
    xp = space.xp
    I = space.identity(A)
    At = A.swapaxes(-1, -2)
    G = A @ At
    Z = At * (_START / _largest_eigenvalue(xp, G))
    total = (G * I).sum((-2, -1))
    bound = tol**2 * total + np.finfo(np.float32).tiny
    # Below, the difference of squares is rounding.
    is_seen = tol**2 > A.shape[-1] * xp.finfo(A.dtype).eps
    residual = xp.full_like(total, np.inf)
    active = xp.ones_like(total, dtype=bool)
    converged = ~active
    for _ in range(_steps_for(A.shape[-1], tol) if space.traced else _MOST_STEPS):
        AZ = A @ Z
        AZ2 = AZ @ AZ
        before = residual
        if is_seen:
            # A Z is a polynomial in G: ||(I - A Z) A||^2 without a product.
            residual = ((I - 2 * AZ + AZ2) * G).sum((-2, -1))
        else:
            residual = ((A - AZ @ A) ** 2).sum((-2, -1))
        converged = converged | (active & (residual <= bound))
        active = active & ~converged & (residual < before)
        if not (space.traced or bool(active.any())):
            break
        Z = xp.where(active[..., None, None], Z @ (3 * (I - AZ) + AZ2), Z)
    if space.traced or bool(converged.all()):
        return Z
    return xp.where(converged[..., None, None], Z, space.pinv(A, tol))


def _steps_for(m, tol):
    """Return how many steps resolve any m x m matrix.

    A step takes 1 - x to its third power, for each eigenvalue x of A Z. So k steps leave
    ``s^2 (1 - c s^2)^(2 3^k)`` of a squared singular value s^2, the largest of which is 1,
    and that is at most ``1 / (2 e c 3^k)``, m times no more than tol^2. The start has c at
    least about 1, and the last step sees that the one before was enough.
    """
    steps = np.ceil(np.log(m / (2 * np.e * tol**2)) / np.log(3)) + 1
    return int(np.clip(steps, 2, _MOST_STEPS))


def _largest_eigenvalue(xp, G):
    """Return an upper bound for symmetric matrices without negative entries.

    ``max (G x)_i / x_i`` of any positive x (Collatz 1942): here, of a few steps of the
    power method. Of shape (..., 1, 1); one for zeros.
    """
    x = G.sum(-1)[..., None]
    for _ in range(_BOUND_STEPS):
        y = G @ x
        # Rows of zeros have no part in it.
        bound = xp.amax(y / xp.where(x > 0, x, 1.0), -2)[..., None]
        x = y / xp.where(bound > 0, bound, 1.0)
    return xp.where(bound > 0, bound, 1.0)


def checkpoint_pinv(space: Any, A: Any) -> Any:
    """Return what published checkpoints were trained with for pseudo-inverses.

    Six steps from a start that all matrices share, converged or not (Xiong et al. 2021,
    equation 14).

    Parameters
    ----------
    space : NumpyArrays or Tensors
    A : array of shape (..., m, m)

    Returns
    -------
    array of shape (..., m, m)
    """
    xp = space.xp
    I = space.identity(A)
    norms = xp.amax(A.sum(-2), -1) * xp.amax(A.sum(-1), -1)
    Z = A.swapaxes(-1, -2) / norms.max()
    for _ in range(_STEPS_OF_CHECKPOINTS):
        AZ = A @ Z
        Z = 0.25 * Z @ (13 * I - AZ @ (15 * I - AZ @ (7 * I - AZ)))
    return Z
