"""Landmarks of a sparse Gaussian process, moved along the gradient of the evidence."""

import numpy as np

from ...operators.covariance import covariance

# A step moves a parameter by about this much, and a landmark by as many standard
# deviations of a feature. Steps shrink once this share of the search is over.
_STEP = 0.1
_DECAY_FROM = 0.5

# Decay rates of the averages of the gradient and of its square.
_FIRST, _SECOND = 0.9, 0.99

# Number of rows that a step sees for each landmark. With fewer, landmarks end elsewhere
# than with all rows, and more steps do not make up for it.
ROWS_PER_MOVED_LANDMARK = 40


def move_landmarks(problem, kernel, Z, n_steps, report=None):
    """Raise the evidence by moving landmarks and parameters together.

    Parameters
    ----------
    problem : GaussianProcessProblem
    kernel : Kernel of ``sklearn.gaussian_process.kernels``
        With the parameters to start from.
    Z : ndarray of shape (m, n_features)
        Landmarks to start from.
    n_steps : int
    report : callable, default=None
        Called after each step; ends the search where it returns true.

    Returns
    -------
    kernel : Kernel of ``sklearn.gaussian_process.kernels``
    Z : ndarray of shape (m, n_features)

    Notes
    -----
    Steps are those of Adam (Kingma & Ba 2015): gradients by landmarks differ by orders of
    magnitude. Each sees the evidence of a fresh sample of the rows, of some tens of rows
    a landmark: its gradient says where landmarks are missing as well as that of all rows.

    What landmarks miss costs evidence in proportion to the precision of the noise. Where
    they miss much, it is cheapest to explain less by the kernel, and the search ends there.
    So the variance that they miss at the start counts as noise besides, which fades as
    fast as a parameter can move.
    """
    bounds, shape, p, theta = kernel.bounds, Z.shape, kernel.n_dims, kernel.theta
    sample = problem.on_sample(ROWS_PER_MOVED_LANDMARK * len(Z), len(Z))
    spread, missed = sample.rows.in_memory().std(axis=0), sample.evidence(kernel, Z).missed
    unit = np.concatenate([np.ones(p), np.tile(spread, len(Z))])
    x = np.concatenate([kernel.theta, Z.ravel()])
    mean, square = np.zeros_like(x), np.zeros_like(x)
    for t in range(1, n_steps + 1):
        fading = problem.alpha + missed * np.exp(-_STEP * t)
        sample = problem._replace(alpha=fading).on_sample(
            ROWS_PER_MOVED_LANDMARK * len(Z), len(Z)
        )
        kernel, Z = kernel.clone_with_theta(x[:p]), x[p:].reshape(shape)
        try:
            found = sample.evidence(kernel, Z, gradient=True, by_points=True)
        except np.linalg.LinAlgError:
            break
        slope = unit * np.concatenate([found.gradient, found.by_points.ravel()])
        mean = _FIRST * mean + (1 - _FIRST) * slope
        square = _SECOND * square + (1 - _SECOND) * slope**2
        direction = (mean / (1 - _FIRST**t)) / np.maximum(
            np.sqrt(square / (1 - _SECOND**t)), np.finfo(float).tiny
        )
        # Parameters are logarithms. Growth is no faster than it was at the start: a length
        # scale that has grown long has hardly any slope left to come back by.
        unit[:p] = np.exp(np.minimum(theta - x[:p], 0))
        left = (n_steps - t) / n_steps
        x += _STEP * min(1.0, left / (1 - _DECAY_FROM)) * unit * direction
        x[:p] = np.clip(x[:p], *bounds.T)
        if report is not None and report():
            break
    return kernel.clone_with_theta(x[:p]), x[p:].reshape(shape)


def can_move(problem, kernel):
    """Whether the landmarks of a problem can be moved, and should."""
    return problem.gains_by_choice and covariance(kernel).has_point_slopes
