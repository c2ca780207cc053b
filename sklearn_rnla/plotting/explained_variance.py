"""The variance along components, how sure it is, and how many components to keep."""

from __future__ import annotations

from collections.abc import Sequence
from numbers import Real
from typing import TYPE_CHECKING, Any, Literal, Self

import numpy as np
from sklearn.utils.validation import check_is_fitted

from .._typing import ArrayLike
from ..linalg.singular.rank_rules import rank_rule
from .axes import MUTED, PALETTE, add_legend, axes_of, check_kind, integer_ticks
from .spectrum import VARIANCE_LABELS, eigenvalues_of, total_of

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure, SubFigure
    from matplotlib.lines import Line2D

_RULES = ("gavish-donoho", "mle")


class ExplainedVarianceDisplay:
    """The variance along each component, as a scree plot or added up.

    Parameters
    ----------
    explained_variance : ndarray of shape (n_components,)
        Variances in decreasing order.
    total_variance : float
        Their sum, with those of the components left out.
    lacking : float, default=0.0
        What the components capture less than the best as many, at most.
    thresholds : dict of str to int or None, default=None
        Numbers of components to mark, by the names of what asks for them. None where more
        components would be needed than there are.

    Attributes
    ----------
    ax_ : matplotlib Axes
        With the plot.
    figure_ : matplotlib Figure
        With the axes.
    line_ : matplotlib Line2D
        The variances.
    band_ : matplotlib PolyCollection or None
        From the variances found up to the most that they may be; None where nothing is
        lacking.
    threshold_lines_ : dict of str to matplotlib Line2D
        The marks of thresholds that are reached.

    See Also
    --------
    sklearn_rnla.RandomizedPCA : Finds components.
    SpectrumDisplay : Several spectra at once.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_rnla import RandomizedPCA
    >>> from sklearn_rnla.plotting import ExplainedVarianceDisplay
    >>> X = np.random.default_rng(0).standard_normal((200, 8)) * np.arange(1, 9)
    >>> pca = RandomizedPCA(6, random_state=0).fit(X)
    >>> display = ExplainedVarianceDisplay.from_estimator(pca, thresholds=[0.8])
    >>> display.thresholds
    {'80 % of variance': 4}
    >>> display.plot(kind="cumulative")  # doctest: +SKIP
    """

    ax_: Axes
    figure_: Figure | SubFigure
    line_: Line2D
    band_: Artist | None
    threshold_lines_: dict[str, Line2D]

    def __init__(
        self,
        explained_variance: ArrayLike,
        total_variance: float,
        *,
        lacking: float = 0.0,
        thresholds: dict[str, int | None] | None = None,
    ) -> None:
        self.explained_variance = explained_variance
        self.total_variance = total_variance
        self.lacking = lacking
        self.thresholds = thresholds

    @classmethod
    def from_estimator(
        cls, estimator: Any, *, thresholds: Sequence[float | str] = ()
    ) -> Self:
        """Make a display of a fitted estimator, and do not plot it yet.

        Parameters
        ----------
        estimator : RandomizedPCA, or an estimator with ``explained_variance_``
            Fitted. Its ``error_estimate_``, if it has one, makes the band.
        thresholds : sequence of float or {"gavish-donoho", "mle"}, default=()
            Ways to choose the number of components, as those of ``n_components``: a float
            in (0, 1) is a share of the variance.

        Returns
        -------
        ExplainedVarianceDisplay
            To be plotted.

        Raises
        ------
        NotFittedError
            When the estimator is not fitted.
        ValueError
            When a threshold is none of the above, or needs the number of samples, which
            the estimator does not know.
        """
        check_is_fitted(estimator)
        variance = eigenvalues_of(estimator)
        total = total_of(estimator, variance)
        tail = max(0.0, total - float(variance.sum()))
        # The error is at most 1 + error_estimate_ times that of the best components, so
        # that their tail is at least so much.
        best = tail / (1 + getattr(estimator, "error_estimate_", 0.0)) ** 2
        marks = {}
        for threshold in thresholds:
            name, rule = _rule(estimator, threshold)
            shape = getattr(estimator, "n_samples_", None), estimator.n_features_in_
            if shape[0] is None and isinstance(threshold, str):
                raise ValueError(
                    f"threshold={threshold!r} needs n_samples_, which a fitted "
                    f"{type(estimator).__name__} does not have."
                )
            shape = shape if shape[0] is not None else (shape[1], shape[1])
            marks[name] = rule(np.sqrt(variance), total, shape)
        return cls(variance, total, lacking=tail - best, thresholds=marks)

    def plot(
        self,
        ax: Axes | None = None,
        *,
        kind: Literal["share", "variance", "cumulative"] = "share",
        scale: Literal["log", "linear"] | None = None,
        **kwargs: Any,
    ) -> Self:
        """Draw the variances.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Where; None makes a figure.
        kind : {"share", "variance", "cumulative"}, default="share"
            Variances as shares of the total, as they are, or the share that the leading
            components hold together.
        scale : {"log", "linear"}, default=None
            Of the vertical axis; None is "linear" for "cumulative" and "log" otherwise.
        **kwargs : dict
            For matplotlib's ``Axes.plot``.

        Returns
        -------
        ExplainedVarianceDisplay
            The display itself.

        Raises
        ------
        ValueError
            When `kind` is none of the above.
        """
        check_kind(kind, VARIANCE_LABELS)
        self.ax_, self.figure_ = axes_of(ax)
        unit = 1.0 if kind == "variance" else 1 / (self.total_variance or 1.0)
        heights = np.asarray(self.explained_variance, dtype=np.float64) * unit
        most = heights + self.lacking * unit
        if kind == "cumulative":
            heights = np.cumsum(heights)
            most = np.minimum(heights + self.lacking * unit, 1.0)
        ranks = np.arange(1, len(heights) + 1)
        options = {"color": PALETTE[0], "marker": ".", "label": "components found"}
        (self.line_,) = self.ax_.plot(ranks, heights, **(options | kwargs))
        self.band_ = None
        if self.lacking > 0:
            self.band_ = self.ax_.fill_between(
                ranks,
                heights,
                most,
                color=self.line_.get_color(),
                alpha=0.4,
                linewidth=0,
                label="up to the best as many",
            )
        self._mark_thresholds()
        scale = scale or ("linear" if kind == "cumulative" else "log")
        self.ax_.set(xlabel="component", ylabel=VARIANCE_LABELS[kind], yscale=scale)
        if kind == "cumulative" and scale == "linear":
            self.ax_.set_ylim(0, 1.02)
        integer_ticks(self.ax_)
        if self.band_ is not None or self.thresholds:
            add_legend(self.ax_)
        return self

    def _mark_thresholds(self):
        self.threshold_lines_ = {}
        for i, (name, k) in enumerate((self.thresholds or {}).items()):
            style = {"color": MUTED, "linestyle": ("--", ":", "-.")[i % 3]}
            if k is None:
                # It stands in the legend alone.
                label = f"{name}: more than {len(self.explained_variance)}"
                self.ax_.plot([], [], label=label, **style)
            else:
                line = self.ax_.axvline(k, label=f"{name}: {k}", **style)
                self.threshold_lines_[name] = line


def _rule(estimator, threshold):
    """Return the name of a threshold, and its rule."""
    is_share = isinstance(threshold, Real) and 0 < threshold < 1
    if not is_share and threshold not in _RULES:
        raise ValueError(
            f"threshold={threshold!r} must be a float in (0, 1) or one of {_RULES}."
        )
    rule = rank_rule(threshold, (None, estimator.n_features_in_))
    return (f"{100 * threshold:.4g} % of variance" if is_share else threshold), rule
