"""Pseudo-inverses of row-stochastic matrices by products alone."""

from __future__ import annotations

import numpy as np

# As many steps resolve singular values down to rounding; more only amplify it.
_MOST_STEPS = 40

# Published checkpoints were trained with as many.
_STEPS_OF_CHECKPOINTS = 6


def newton_pinv(space, A, tol):
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
    The iteration of third order of Razavi et al. (2014), as in Xiong et al. (2021,
    equation 14), five products of m x m a step, from ``A^T / (||A||_1 ||A||_inf)``. It
    resolves large singular values first, so that a stop at `tol` acts as a cutoff.
    Deviations: the norms are those of each matrix, not the largest of the batch; each
    stops by itself; and one whose residual stops falling, as rounding grows by 13 / 4 a
    step where A is singular, gets the pseudo-inverse by singular values, those below
    `tol` of the largest left out.
    """
    return space.each(lambda matrices: _iterate(space, matrices, tol), A)


def _iterate(space, A, tol):
    xp = space.xp
    I = space.identity(A)
    Z = A.swapaxes(-1, -2) / _norms(xp, A)
    tiny = np.finfo(np.float32).tiny
    norm = _norm(A)
    residual = xp.full_like(norm, np.inf)
    active = xp.ones_like(norm, dtype=bool)
    converged = ~active
    for _ in range(_MOST_STEPS):
        AZ = A @ Z
        before, residual = residual, _norm(A - AZ @ A)
        converged = converged | (active & (residual <= tol * norm + tiny))
        active = active & ~converged & (residual < before)
        if not bool(active.any()):
            break
        Z = xp.where(active[..., None, None], _step(Z, AZ, I), Z)
    if bool(converged.all()):
        return Z
    return xp.where(converged[..., None, None], Z, space.pinv(A, tol))


def checkpoint_pinv(space, A):
    """Return what published checkpoints were trained with for pseudo-inverses.

    Six steps from a start that all matrices share, converged or not.

    Parameters
    ----------
    space : NumpyArrays or Tensors
    A : array of shape (..., m, m)

    Returns
    -------
    array of shape (..., m, m)
    """
    I = space.identity(A)
    Z = A.swapaxes(-1, -2) / _norms(space.xp, A).max()
    for _ in range(_STEPS_OF_CHECKPOINTS):
        Z = _step(Z, A @ Z, I)
    return Z


def _norm(A):
    return (A * A).sum((-2, -1)) ** 0.5


def _norms(xp, A):
    """Return ``||A||_1 ||A||_inf``, of shape (..., 1, 1); of zeros, one."""
    norms = xp.amax(A.sum(-2), -1) * xp.amax(A.sum(-1), -1)
    return xp.where(norms > 0, norms, 1.0)[..., None, None]


def _step(Z, AZ, I):
    """Return ``Z (13 I - A Z (15 I - A Z (7 I - A Z))) / 4``."""
    return 0.25 * Z @ (13 * I - AZ @ (15 * I - AZ @ (7 * I - AZ)))
