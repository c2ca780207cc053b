"""How the fit of a completion went."""

import numpy as np
from sklearn.utils.validation import check_is_fitted

from .axes import MUTED, PALETTE, add_legend, axes_of, integer_ticks

_MEASURES = {
    "als": "RMSE of held-out entries",
    "em": "penalised log-likelihood per entry",
    "exact": "residual, relative to the entries",
    "gibbs": "RMSE of the entries seen",
    "iterative_svd": "objective, relative to zero",
    "softimpute": "objective, relative to zero",
}


class CompletionHistoryDisplay:
    """The measure of fit after each iteration of a completion.

    Parameters
    ----------
    history : ndarray of shape (n_iter,)
        The measure after each iteration.
    solver : str
        The solver, which says what is measured.
    held_out_error : float, default=nan
        Root mean squared error of held-out entries, to compare with; NaN for none.

    Attributes
    ----------
    ax_ : matplotlib Axes
        With the line.
    figure_ : matplotlib Figure
        With the axes.
    line_ : matplotlib Line2D
        The history.
    held_out_line_ : matplotlib Line2D or None
        The error of held-out entries, where the history is an error too.

    See Also
    --------
    sklearn_rnla.MatrixCompleter : Completes matrices.
    ReconstructionErrorDisplay : Errors by rank.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_rnla import MatrixCompleter
    >>> from sklearn_rnla.plotting import CompletionHistoryDisplay
    >>> rng = np.random.default_rng(0)
    >>> X = rng.standard_normal((60, 2)) @ rng.standard_normal((2, 20))
    >>> X[rng.random(X.shape) < 0.3] = np.nan
    >>> completer = MatrixCompleter(2, solver="als", random_state=0).fit(X)
    >>> display = CompletionHistoryDisplay.from_estimator(completer)
    >>> display.solver
    'als'
    >>> display.plot()  # doctest: +SKIP
    """

    def __init__(self, history, solver, *, held_out_error=np.nan):
        self.history = history
        self.solver = solver
        self.held_out_error = held_out_error

    @classmethod
    def from_estimator(cls, estimator):
        """Make a display of a fitted estimator, and do not plot it yet.

        Parameters
        ----------
        estimator : MatrixCompleter or MatrixFactorizationRegressor
            Fitted.

        Returns
        -------
        CompletionHistoryDisplay
            To be plotted.

        Raises
        ------
        NotFittedError
            When the estimator is not fitted.
        """
        check_is_fitted(estimator)
        return cls(
            estimator.history_,
            estimator.solver_,
            held_out_error=float(estimator.held_out_error_),
        )

    def plot(self, ax=None, **kwargs):
        """Draw the history.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Where; None makes a figure.
        **kwargs : dict
            For matplotlib's ``Axes.plot``.

        Returns
        -------
        CompletionHistoryDisplay
            The display itself.
        """
        self.ax_, self.figure_ = axes_of(ax)
        measure, has_held_out = _MEASURES[self.solver], np.isfinite(self.held_out_error)
        if self.solver == "als" and not has_held_out:
            measure = "objective, relative to zero"
        options = {"color": PALETTE[0], "marker": ".", "label": measure}
        iterations = np.arange(1, len(self.history) + 1)
        (self.line_,) = self.ax_.plot(iterations, self.history, **(options | kwargs))
        self.held_out_line_ = None
        if self.solver in ("als", "gibbs") and has_held_out:
            self.held_out_line_ = self.ax_.axhline(
                self.held_out_error, color=MUTED, linestyle="--", label="held-out error"
            )
            add_legend(self.ax_)
        self.ax_.set(xlabel="iteration", ylabel=measure)
        self.ax_.set_yscale("log" if self.solver == "exact" else "linear")
        integer_ticks(self.ax_)
        return self
