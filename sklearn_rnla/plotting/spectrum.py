"""Spectra of several layers or estimators."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal, Self

import numpy as np
from sklearn.utils.validation import check_is_fitted

from .._typing import AnyArray
from .axes import PALETTE, axes_of, check_kind, named

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure, SubFigure
    from matplotlib.lines import Line2D

# What is along the vertical axis, by the kind of plot.
VARIANCE_LABELS = {
    "share": "share of variance",
    "variance": "variance",
    "cumulative": "cumulative share of variance",
}


class SpectrumDisplay:
    """Spectra, each as a line over the rank of the eigenvalue.

    Parameters
    ----------
    spectra : dict of str to ndarray
        Eigenvalues in decreasing order, by the name of the layer, epoch or model.
    totals : dict of str to float, default=None
        Sum of all eigenvalues, where the spectra are the leading ones alone.

    Attributes
    ----------
    ax_ : matplotlib Axes
        With the lines.
    figure_ : matplotlib Figure
        With the axes.
    lines_ : list of matplotlib Line2D
        One for each spectrum.

    See Also
    --------
    sklearn_rnla.neural.representation_spectrum : Computes a spectrum.
    SimilarityDisplay : Similarities of layers.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_rnla.plotting import SpectrumDisplay
    >>> display = SpectrumDisplay.from_spectra({"layer 1": np.array([2.0, 1.0])})
    >>> display.plot()  # doctest: +SKIP
    """

    ax_: Axes
    figure_: Figure | SubFigure
    lines_: list[Line2D]

    def __init__(
        self, spectra: dict[str, AnyArray], totals: dict[str, float] | None = None
    ) -> None:
        self.spectra = spectra
        self.totals = totals

    @classmethod
    def from_spectra(cls, spectra: Mapping[Any, Any]) -> Self:
        """Make a display of results, and do not plot it yet.

        Parameters
        ----------
        spectra : dict of str to object
            Each a result with ``eigenvalues`` (and ``total_variance``), as of
            `representation_spectrum`, a fitted estimator with ``explained_variance_`` (and
            ``explained_variance_ratio_``), or eigenvalues.

        Returns
        -------
        SpectrumDisplay
            To be plotted.

        Raises
        ------
        ValueError
            When there is no spectrum, two names are the same as strings, or eigenvalues are
            not a vector.
        TypeError
            When `spectra` is not a dict.
        NotFittedError
            When an estimator is not fitted.
        """
        found = named(spectra, "spectra", '{"layer": spectrum}')
        values = {name: eigenvalues_of(one) for name, one in found.items()}
        return cls(values, {name: total_of(found[name], values[name]) for name in found})

    @classmethod
    def from_estimator(cls, estimator: Any, *, name: str | None = None) -> Self:
        """Make a display of the variances of a fitted estimator, and do not plot it yet.

        Parameters
        ----------
        estimator : object
            Fitted, with ``explained_variance_``, such as `RandomizedPCA`.
        name : str, default=None
            What it is called; None is the name of its class.

        Returns
        -------
        SpectrumDisplay
            To be plotted.

        Raises
        ------
        NotFittedError
            When the estimator is not fitted.
        """
        return cls.from_spectra({name or type(estimator).__name__: estimator})

    def plot(
        self,
        ax: Axes | None = None,
        *,
        kind: Literal["share", "variance", "cumulative"] = "share",
        **kwargs: Any,
    ) -> Self:
        """Draw the lines.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Where; None makes a figure.
        kind : {"share", "variance", "cumulative"}, default="share"
            Eigenvalues as shares of the total variance, as they are, or the share that the
            leading ones hold together. The first two on logarithmic axes.
        **kwargs : dict
            For matplotlib's ``Axes.plot``.

        Returns
        -------
        SpectrumDisplay
            The display itself.

        Raises
        ------
        ValueError
            When `kind` is none of the above.
        """
        check_kind(kind, VARIANCE_LABELS)
        self.ax_, self.figure_ = axes_of(ax)
        self.lines_ = []
        for i, (name, values) in enumerate(self.spectra.items()):
            values = np.asarray(values, dtype=np.float64)
            heights = values if kind == "variance" else values / self._total_of(name)
            if kind == "cumulative":
                heights = np.cumsum(heights)
            else:
                # Zeros, and rounding below, have no place on a logarithmic axis.
                floor = np.finfo(np.float32).eps * heights.max(initial=0.0) / 10
                heights = np.where(heights > floor, heights, np.nan)
            ranks = np.arange(1, len(heights) + 1)
            # A line of one point is not seen.
            marker = "." if np.isfinite(heights).sum() == 1 else None
            color = PALETTE[i % len(PALETTE)]
            options = {"label": name, "marker": marker, "color": color, **kwargs}
            self.lines_ += self.ax_.plot(ranks, heights, **options)
        self.ax_.set(xscale="log", xlabel="rank", ylabel=VARIANCE_LABELS[kind])
        if kind == "cumulative":
            self.ax_.set_ylim(0, 1.02)
        else:
            self.ax_.set_yscale("log")
        if len(self.spectra) > 1:
            self.ax_.legend()
        return self

    def _total_of(self, name):
        total = (self.totals or {}).get(name)
        return (np.sum(self.spectra[name]) if total is None else total) or 1.0


def eigenvalues_of(found: Any) -> Any:
    """Return the eigenvalues of a result, of a fitted estimator, or as they are given."""
    if hasattr(found, "fit"):
        check_is_fitted(found)
    for name in ("eigenvalues", "explained_variance_"):
        found = getattr(found, name, found)
    values = np.asarray(found, dtype=np.float64)
    if values.ndim != 1 or not len(values):
        raise ValueError(f"Eigenvalues have shape {values.shape}, but must be a vector.")
    return values


def total_of(found: Any, values: Any) -> Any:
    """Return the sum of all eigenvalues of a result of which `values` are known."""
    if hasattr(found, "total_variance"):
        return float(found.total_variance)
    ratio = getattr(found, "explained_variance_ratio_", None)
    if ratio is not None and ratio[0] > 0:
        return float(values[0] / ratio[0])
    return float(values.sum())
