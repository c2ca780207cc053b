"""How many landmarks a Gaussian process can afford, by counted work."""

import numpy as np

from .moving_landmarks import ROWS_PER_LANDMARK

# The budget is the work of an exact process of this many samples: about a minute on a core.
_EXACT_SAMPLES = 4000

# Evaluations of the evidence and its gradient, on all rows, that a fit takes besides those
# that move landmarks: 10 to 40 in the fits of the user guide.
_EVALUATIONS = 30


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
    of_steps = 4 / 3 * n_steps * np.minimum(n, ROWS_PER_LANDMARK * m)
    work = 6 * m**2 * (of_steps + _EVALUATIONS * n)
    budget = _EVALUATIONS * float(_EXACT_SAMPLES) ** 3
    return max(1, int(np.searchsorted(work, budget)))
