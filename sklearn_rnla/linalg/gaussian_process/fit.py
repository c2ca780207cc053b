"""Hyper-parameters and landmarks of a sparse Gaussian process, from coarse to fine."""

from typing import NamedTuple

import numpy as np

from ..dense.bfgs import curvature, minimize
from .evidence import Evidence
from .moving_landmarks import ROWS_PER_MOVED_LANDMARK, can_move, move_landmarks

# Each stage of the optimisation has half as many landmarks as the next one, and at most
# this many rows for each of them. The first stage has about this many landmarks.
_FIRST_LANDMARKS = 100
_ROWS_PER_LANDMARK = 20

# A stage of an exact process has at least this many rows. With fewer, the fit may take for
# noise what more rows explain.
_EXACT_ROWS = 1500

# An iteration that gains less evidence per value of Y than this ends a coarse stage, or the
# last stage. Fewer values than `_MANY` are cheap: the limit falls with the square of their
# share.
_STAGE_GAIN = 1e-5
_LAST_GAIN = 1e-5
_MANY = 1e4

# Landmarks are not moved, and no more are taken, if the evidence that they cost is below
# this per value of Y.
_SLACK = 1e-3

# Landmarks are chosen again, and the parameters refined, at most this many times, as long
# as that gains evidence.
_RESELECTIONS = 2

# Landmarks are affordable whose work is that of an exact process of this many samples:
# about a minute on a core.
_EXACT_SAMPLES = 4000

# Evaluations of the evidence and its gradient, on all rows, that a fit takes besides those
# that move landmarks: 10 to 40 in the fits of the user guide.
_EVALUATIONS = 30


class GaussianProcessFit(NamedTuple):
    """What a fit finds.

    Attributes
    ----------
    kernel : Kernel of ``sklearn.gaussian_process.kernels``
        With its parameters.
    evidence : Evidence
        On the landmarks.
    Z : ndarray of shape (m, n_features)
    indices : ndarray of shape (m,) or None
    n_iter : int
        Evaluations of evidence and gradient, on all rows with all landmarks.
    """

    kernel: object
    evidence: Evidence
    Z: np.ndarray
    indices: np.ndarray | None
    n_iter: int


def affordable_landmarks(n, n_steps):
    """Return the most landmarks within the budget.

    Parameters
    ----------
    n : int
        Number of rows.
    n_steps : int
        Steps that move landmarks, in each stage of the fit.

    Returns
    -------
    int
        All n where the exact process is within the budget, and so takes less work than
        landmarks would.

    Notes
    -----
    An exact evaluation takes ``n^3`` flops. One on m landmarks takes ``6 n m^2``, and a
    step that moves them as many for a sample of the rows. Stages with half as many
    landmarks, and a quarter, take a third of the work of the last one in all.
    """
    if n <= _EXACT_SAMPLES:
        return n
    m = np.arange(1.0, _EXACT_SAMPLES)
    of_steps = 4 / 3 * n_steps * np.minimum(n, ROWS_PER_MOVED_LANDMARK * m)
    work = 6 * m**2 * (of_steps + _EVALUATIONS * n)
    budget = _EVALUATIONS * float(_EXACT_SAMPLES) ** 3
    return max(1, int(np.searchsorted(work, budget)))


def fit_gaussian_process(
    problem,
    kernel,
    optimizer,
    *,
    n_restarts=0,
    n_steps=0,
    reselect=True,
    grow=False,
    report=None,
):
    """Find the parameters and landmarks of greatest evidence.

    Parameters
    ----------
    problem : GaussianProcessProblem
    kernel : Kernel of ``sklearn.gaussian_process.kernels``
        Where to start.
    optimizer : "fmin_l_bfgs_b", callable or None
        As in scikit-learn; None leaves the kernel as it is.
    n_restarts : int
        Further starts of the first stage, drawn within the bounds.
    n_steps : int
        Steps that move the chosen landmarks, where `can_move` says so.
    reselect : bool
        Whether to choose landmarks again as the parameters move.
    grow : bool
        Whether to stop at fewer landmarks where more would not pay.
    report : callable, default=None
        Called after each iteration; stops the stage where it returns true.

    Returns
    -------
    GaussianProcessFit

    Notes
    -----
    The search starts with few landmarks and rows and doubles them stage by stage, as the
    parameters hardly depend on how many there are. If all rows are landmarks, the stages
    are exact processes of samples of the rows. Each stage chooses its landmarks under the
    parameters of the stage before. In the end, landmarks move along the gradient together
    with the parameters, or are chosen again as long as that raises the evidence (Burt,
    Rasmussen & van der Wilk 2020, section 5).
    """
    if problem.is_exact:
        # Only rows that depend on others numerically are ever left out.
        problem = problem._replace(k=problem.rows.shape[0], landmarks="rpcholesky")
    if optimizer is None or not kernel.n_dims:
        search = search_from(problem, Start(kernel))
        search(kernel.theta, eval_gradient=False)
        return search.fit()
    kernel = kernel.clone_with_theta(np.clip(kernel.theta, *kernel.bounds.T))
    if not reselect and problem.chooses_landmarks:
        Z, indices = problem.choose(kernel)
        problem = problem._replace(landmarks=Z if indices is None else indices)
    first, *others = *_coarse_stages(problem), problem
    starts = [Start(k) for k in (kernel, *_restarts(kernel, n_restarts, problem.rng))]
    searches = [search_from(first, start) for start in starts]
    for stage in others:
        coarse = [_coarse(search, optimizer, n_steps, report) for search in searches]
        best = max(coarse, key=lambda search: search.value)
        enough = grow and not problem.is_exact and best.misses_little
        stage = problem._replace(k=best.problem.k) if enough else stage
        searches = [search_from(stage, best.next_start())]
        if enough:
            break
    fits = [_with_all(search, optimizer, n_steps, report) for search in searches]
    return max(fits, key=lambda fit: fit.evidence.value)


def _coarse(search, optimizer, n_steps, report):
    """Run the search of a coarse stage, on moved landmarks where that gains evidence."""
    search = _moved(search, optimizer, n_steps, report) or search
    search.run(optimizer, _STAGE_GAIN, report, measure=True)
    return search


def _restarts(kernel, n_restarts, rng):
    """Return kernels with parameters drawn within their bounds."""
    bounds = kernel.bounds
    if n_restarts and not np.isfinite(bounds).all():
        raise ValueError(
            "n_restarts_optimizer > 0 requires that all bounds of the kernel are finite."
        )
    return [
        kernel.clone_with_theta(rng.uniform(bounds[:, 0], bounds[:, 1]))
        for _ in range(n_restarts)
    ]


def _coarse_stages(problem):
    """Return the problems that come before the whole one."""
    stages, k = [], problem.k // 2
    least = _EXACT_ROWS if problem.is_exact else _FIRST_LANDMARKS
    while k >= least:
        size = k if problem.is_exact else _ROWS_PER_LANDMARK * k
        stages.append(problem.on_sample(size, k))
        k //= 2
    return stages[::-1]


def _with_all(search, optimizer, n_steps, report):
    """Return the fit on all rows and landmarks, from a search at its start."""
    problem = search.problem
    moved = _moved(search, optimizer, n_steps, report)
    if moved is not None:
        moved.run(optimizer, _LAST_GAIN, report)
        return moved.fit()
    search.run(optimizer, _LAST_GAIN, report)
    fit = search.fit()
    for _ in range(_RESELECTIONS if problem.gains_by_choice else 0):
        search = Search(problem, search.next_start(), *problem.choose(fit.kernel))
        search(fit.kernel.theta, eval_gradient=False)
        if search.value - fit.evidence.value < _LAST_GAIN * problem.Y.size:
            break
        search.run(optimizer, _LAST_GAIN, report)
        fit = search.fit()._replace(n_iter=fit.n_iter + search.n_evaluations)
    return fit


def _moved(search, optimizer, n_steps, report):
    """Return a search on landmarks moved from those of another, or None without a gain."""
    problem = search.problem
    if not n_steps or callable(optimizer) or not can_move(problem, search.kernel):
        return None
    search(search.kernel.theta, eval_gradient=False)
    if search.evidence is None or search.misses_little:
        return None
    kernel, Z = move_landmarks(problem, search.kernel, search.Z, n_steps, report)
    moved = Search(problem, Start(kernel, search.hessian), Z, None)
    moved(kernel.theta, eval_gradient=False)
    return moved if moved.value > search.value else None


class Start(NamedTuple):
    """Where a search starts.

    Attributes
    ----------
    kernel : Kernel of ``sklearn.gaussian_process.kernels``
    hessian : ndarray of shape (n_params, n_params) or None
        Approximate Hessian of minus the evidence per value of Y, which hardly depends on
        the number of rows and landmarks.
    """

    kernel: object
    hessian: np.ndarray | None = None


def search_from(problem, start):
    """Return a search on landmarks chosen under the kernel it starts from."""
    if problem.is_exact:
        return Search(problem, start, None, None)
    return Search(problem, start, *problem.choose(start.kernel))


class Search:
    """The search for the parameters of a kernel on given landmarks.

    Called with ``theta``, it is the function to minimise: minus the evidence and its
    gradient, as scikit-learn's optimisers take it.

    Parameters
    ----------
    problem : GaussianProcessProblem
    start : Start
    Z : ndarray of shape (m, n_features) or None
        Landmarks; None for the exact evidence.
    indices : ndarray of shape (m,) or None
        Which rows they are.
    """

    def __init__(self, problem, start, Z, indices):
        self.problem = problem
        # Kernels of scikit-learn take longer to clone than to be set.
        self._tried, self.hessian = start
        self._tried = self._tried.clone_with_theta(self._tried.theta)
        self._theta = self._tried.theta
        self.Z = Z
        self.indices = indices
        self.n_evaluations = 0
        self.evidence = None

    @property
    def kernel(self):
        """The kernel of the greatest evidence so far."""
        return self._tried.clone_with_theta(self._theta)

    @property
    def value(self):
        """The greatest evidence so far."""
        return -np.inf if self.evidence is None else self.evidence.value

    @property
    def misses_little(self):
        """Whether more landmarks, or others, would gain hardly any evidence."""
        evidence = self.evidence
        return evidence is not None and evidence.slack < _SLACK * self.problem.Y.size

    def __call__(self, theta, eval_gradient=True):
        """Return minus the evidence, and minus its gradient if asked for."""
        self._tried.theta = theta
        self.n_evaluations += 1
        try:
            found = self.problem.evidence(self._tried, self.Z, gradient=eval_gradient)
        except np.linalg.LinAlgError:
            return (np.inf, np.zeros_like(theta)) if eval_gradient else np.inf
        if found.value > self.value:
            self.evidence, self._theta = found, np.array(theta)
        return (-found.value, -found.gradient) if eval_gradient else -found.value

    def run(self, optimizer, gain, report, *, measure=False):
        """Search from `kernel` on, until an iteration gains less than `gain` a value."""
        theta, bounds = self._theta, self._tried.bounds
        if callable(optimizer):
            # Its result counts even if it is not the best evidence seen: the callable may
            # minimise something else besides.
            theta = optimizer(self, theta, bounds=bounds)[0]
            self.evidence = None
            self(np.asarray(theta, np.float64), eval_gradient=False)
            return
        n_values = self.problem.Y.size

        def scaled(theta):
            value, slope = self(theta)
            return value / n_values, slope / n_values

        tol = gain * min(1.0, n_values / _MANY) ** 2
        found = minimize(scaled, theta, bounds, tol=tol, hessian=self.hessian, stop=report)
        self.hessian = found.hessian
        if measure:
            self.hessian = curvature(scaled, found, bounds)

    def next_start(self):
        """Return where the next search begins."""
        return Start(self.kernel, self.hessian)

    def fit(self):
        """Return the best that was found.

        Raises
        ------
        ValueError
            When the evidence was finite nowhere.
        """
        if self.evidence is None and self.Z is None:
            # Of rows that depend on one another numerically, and have no noise of their
            # own, landmarks are those that do not.
            self.Z, self.indices = self.problem.choose(self.kernel)
            self(self.kernel.theta, eval_gradient=False)
        if self.evidence is None:
            raise ValueError(
                f"The covariance of the landmarks by kernel={self.kernel} has no Cholesky "
                "factor: a kernel must be finite and positive semidefinite."
            )
        kernel = self.kernel
        if self.Z is None:
            # Evidence with a gradient has no features.
            self.evidence = self.problem.evidence(kernel, None)
            self.Z = np.array(self.problem.rows.in_memory(), np.float64)
            self.indices = np.arange(len(self.Z))
        return GaussianProcessFit(
            kernel=kernel,
            evidence=self.evidence,
            Z=self.Z,
            indices=self.indices,
            n_iter=self.n_evaluations,
        )
