"""The data, landmarks and starting kernel that a Gaussian process is fitted with."""

from typing import Any, NamedTuple

import numpy as np
from sklearn.base import clone
from sklearn.gaussian_process.kernels import RBF, ConstantKernel, WhiteKernel

from ..._typing import Array, Indices
from ...operators.covariance import covariance
from ...operators.kernels import Kernel
from ..nystroem.features import nystroem_features
from .evidence import evidence
from .exact import exact_evidence

# Noise that is learned starts at this share of the variance of y, or of that of the kernel
# if it is less. It stays above a share of its start and below a multiple of the variance.
_NOISE_START, _NOISE_BOUNDS = 0.1, (1e-5, 10.0)


class GaussianProcessProblem(NamedTuple):
    """Data and the model whose parameters are wanted.

    Attributes
    ----------
    rows : RowMatrix
    Y : ndarray of shape (n_rows, n_targets)
    alpha : float or ndarray of shape (n_rows,)
        Noise variance besides that of the kernel.
    method : str
        Of `evidence`.
    k : int
        Most landmarks.
    landmarks : str or ndarray
        A method of `choose_landmarks`, row indices, or points.
    rng : Generator
    n_jobs : int or None
    learn_mean : bool
        Whether the prior has a constant mean, the most likely one.
    """

    rows: object
    Y: np.ndarray
    alpha: object
    method: str
    k: int
    landmarks: object
    rng: np.random.Generator
    n_jobs: int | None
    learn_mean: bool = False

    @property
    def chooses_landmarks(self) -> bool:
        """Whether landmarks are chosen, and not a user's own."""
        return isinstance(self.landmarks, str)

    @property
    def is_exact(self) -> bool:
        """Whether every row is a landmark, so that none need be chosen."""
        n = self.rows.shape[0]
        if self.chooses_landmarks:
            return self.k >= n
        every = np.unique(np.where(self.landmarks < 0, self.landmarks + n, self.landmarks))
        return self.landmarks.ndim == 1 and np.array_equal(every, np.arange(n))

    @property
    def gains_by_choice(self) -> bool:
        """Whether better landmarks raise the evidence, as they do for a bound.

        What the other methods maximise is not a bound, and a user's landmarks stay.
        """
        is_bound = self.method == "variational"
        return is_bound and self.chooses_landmarks and not self.is_exact

    def on_sample(self, size: int, k: int) -> "GaussianProcessProblem":
        """Return the problem of a uniform sample of the rows, with k landmarks."""
        n = self.rows.shape[0]
        landmarks = self.landmarks
        if not self.chooses_landmarks:
            landmarks = landmarks[:k]
            if landmarks.ndim == 1:
                landmarks = self.rows.take(np.unique(landmarks % n)).in_memory()
        if size >= n:
            return self._replace(k=k, landmarks=landmarks)
        sample = np.sort(self.rng.choice(n, size=size, replace=False))
        alpha = self.alpha if np.ndim(self.alpha) == 0 else self.alpha[sample]
        return self._replace(
            rows=self.rows.take(sample),
            Y=self.Y[sample],
            alpha=alpha,
            k=k,
            landmarks=landmarks,
        )

    def choose(self, kernel: Any) -> tuple[Array, Indices | None]:
        """Return landmarks chosen under a kernel: points and indices."""
        nystroem = nystroem_features(
            self.rows.with_weight(None),
            Kernel(kernel),
            self.k,
            self.landmarks,
            n_jobs=self.n_jobs,
            rng=self.rng,
        )
        return np.asarray(nystroem.points, np.float64), nystroem.indices

    def evidence(
        self,
        kernel: Any,
        Z: Array | None,
        *,
        gradient: bool = False,
        by_points: bool = False,
    ) -> Any:
        """Return the evidence of a kernel on landmarks Z, or the exact one if Z is None."""
        if Z is None:
            return self._exact_evidence(kernel, gradient=gradient)
        # What is not finite is told by the evidence itself.
        with np.errstate(invalid="ignore", over="ignore"):
            return evidence(
                self.rows,
                self.Y,
                covariance(kernel),
                Z,
                alpha=self.alpha,
                method=self.method,
                learn_mean=self.learn_mean,
                gradient=gradient,
                by_points=by_points,
            )

    def _exact_evidence(self, kernel, *, gradient):
        X = np.asarray(self.rows.in_memory(), np.float64)
        node = covariance(kernel)
        with np.errstate(invalid="ignore", over="ignore"):
            return exact_evidence(
                X,
                self.Y,
                node,
                alpha=self.alpha,
                method=self.method,
                learn_mean=self.learn_mean,
                gradient=gradient,
            )


def starting_kernel(
    problem: GaussianProcessProblem, kernel: Any, *, optimized: bool, learn_noise: bool
) -> Any:
    """Return the kernel that a search starts from, which has noise or is to learn it.

    Parameters
    ----------
    problem : GaussianProcessProblem
    kernel : Kernel of ``sklearn.gaussian_process.kernels`` or None
        The one asked for; None is a constant times an RBF, on the scale of the targets
        where it is optimized.
    optimized : bool
        Whether its parameters are to be found.
    learn_noise : bool
        Whether a noise may be added to them.

    Returns
    -------
    Kernel of ``sklearn.gaussian_process.kernels``

    Raises
    ------
    ValueError
        Where there is no noise at all: landmarks cannot interpolate.
    """
    spread = float(problem.Y.var(axis=0).mean()) or 1.0
    if kernel is None:
        scale = spread if optimized else 1.0
        start = ConstantKernel(scale, (1e-5 * scale, 1e5 * scale)) * RBF()
    else:
        start = clone(kernel)
    prior, head = covariance(start), np.asarray(problem.rows.some_rows(), np.float64)
    is_noisy = prior.has_noise and bool(np.any(prior.noise(head) > 0))
    if is_noisy:
        return start
    if optimized and learn_noise and np.ndim(problem.alpha) == 0:
        # Noise above the variance of the kernel would explain all of y on its own.
        noise = _NOISE_START * min(spread, float(prior.diagonal(head).mean()) or spread)
        low, high = _NOISE_BOUNDS
        return start + WhiteKernel(noise, (low * noise, high * max(noise, spread)))
    if np.min(problem.alpha) == 0 and not problem.is_exact:
        raise ValueError(
            f"alpha={problem.alpha} must be positive with kernel={kernel}, which has no "
            "noise: landmarks cannot interpolate."
        )
    return start
