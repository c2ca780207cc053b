"""Displays: spectra of several layers, and a matrix of similarities."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, Self

import numpy as np
from sklearn.utils.validation import check_is_fitted

from ._typing import AnyArray, Array, ArrayLike

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.colorbar import Colorbar
    from matplotlib.figure import Figure, SubFigure
    from matplotlib.image import AxesImage
    from matplotlib.lines import Line2D

__all__ = ["SimilarityDisplay", "SpectrumDisplay"]

# Cells up to this many along a side have their number written in them.
_MOST_ANNOTATED = 12


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

    ax_: "Axes"
    figure_: "Figure | SubFigure"
    lines_: "list[Line2D]"

    def __init__(
        self, spectra: Mapping[str, ArrayLike], totals: Mapping[str, float] | None = None
    ) -> None:
        self.spectra = spectra
        self.totals = totals

    @classmethod
    def from_spectra(cls, spectra: Mapping[str, Any]) -> Self:
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
        if not isinstance(spectra, Mapping):
            raise TypeError(
                'spectra must be a dict, such as {"layer": spectrum}, but is a '
                f"{type(spectra).__name__}."
            )
        if not spectra:
            raise ValueError("spectra is empty: nothing to plot.")
        named = {str(name): found for name, found in spectra.items()}
        if len(named) < len(spectra):
            raise ValueError(f"Two names of {list(spectra)} are the same as strings.")
        values = {name: _eigenvalues(found) for name, found in named.items()}
        return cls(values, {name: _total(named[name], values[name]) for name in named})

    def plot(
        self,
        ax: "Axes | None" = None,
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
        kinds = {
            "share": "share of variance",
            "variance": "variance",
            "cumulative": "cumulative share of variance",
        }
        if kind not in kinds:
            raise ValueError(f"kind={kind!r} must be one of {sorted(kinds)}.")
        self.ax_, self.figure_ = _axes(ax)
        self.lines_ = []
        for name, values in self.spectra.items():
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
            options = {"label": name, "marker": marker, **kwargs}
            self.lines_ += self.ax_.plot(ranks, heights, **options)
        self.ax_.set(xscale="log", xlabel="rank", ylabel=kinds[kind])
        if kind == "cumulative":
            self.ax_.set_ylim(0, 1.02)
        else:
            self.ax_.set_yscale("log")
        if len(self.spectra) > 1:
            self.ax_.legend()
        return self

    def _total_of(self, name):
        total = (self.totals or {}).get(name, np.sum(self.spectra[name]))
        return total if total > 0 else 1.0


class SimilarityDisplay:
    """A matrix of similarities as a heat map.

    Parameters
    ----------
    similarities : ndarray of shape (n_rows, n_columns)
        From 0 to 1; NaN is left blank.
    row_names : sequence of str
        Names of the rows.
    column_names : sequence of str
        Names of the columns.
    name : str, default="similarity"
        What the numbers are, for the colour bar.

    Attributes
    ----------
    ax_ : matplotlib Axes
        With the map.
    figure_ : matplotlib Figure
        With the axes.
    im_ : matplotlib AxesImage
        The map.
    text_ : ndarray of shape (n_rows, n_columns) or None
        The numbers in the cells, matplotlib texts; None where there are none.
    colorbar_ : matplotlib Colorbar or None
        What the colours mean.

    See Also
    --------
    sklearn_rnla.neural.linear_cka : A similarity of representations.
    SpectrumDisplay : Spectra of layers.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_rnla import linear_cka
    >>> from sklearn_rnla.plotting import SimilarityDisplay
    >>> X = np.random.default_rng(0).standard_normal((50, 6))
    >>> layers = {"first": X, "second": np.tanh(X), "third": X[:, :2]}
    >>> display = SimilarityDisplay.from_representations(layers, linear_cka)
    >>> display.similarities.shape
    (3, 3)
    """

    ax_: "Axes"
    figure_: "Figure | SubFigure"
    im_: "AxesImage"
    text_: AnyArray | None
    colorbar_: "Colorbar | None"

    def __init__(
        self,
        similarities: Array,
        row_names: Sequence[str],
        column_names: Sequence[str],
        *,
        name: str = "similarity",
    ) -> None:
        self.similarities = similarities
        self.row_names = row_names
        self.column_names = column_names
        self.name = name

    @classmethod
    def from_matrix(
        cls,
        similarities: ArrayLike,
        names: Iterable[object],
        *,
        column_names: Iterable[object] | None = None,
        name: str = "similarity",
    ) -> Self:
        """Make a display of similarities, and do not plot it yet.

        Parameters
        ----------
        similarities : array-like of shape (n_rows, n_columns)
            Such as `ActivationRecorder.cka` returns them.
        names : sequence of str
            Names of the rows, and of the columns unless those have their own.
        column_names : sequence of str, default=None
            Names of the columns.
        name : str, default="similarity"
            What the numbers are.

        Returns
        -------
        SimilarityDisplay
            To be plotted.

        Raises
        ------
        ValueError
            When the names do not fit the shape.
        """
        matrix = np.asarray(similarities, dtype=np.float64)
        rows = [str(n) for n in names]
        columns = rows if column_names is None else [str(n) for n in column_names]
        if matrix.shape != (len(rows), len(columns)):
            raise ValueError(
                f"similarities of shape {matrix.shape} must have a row for each of "
                f"{len(rows)} names and a column for each of {len(columns)}."
            )
        return cls(matrix, rows, columns, name=name)

    @classmethod
    def from_representations(
        cls,
        rows: Mapping[str, Any],
        similarity: Callable[[Any, Any], Any],
        *,
        columns: Mapping[str, Any] | None = None,
        name: str | None = None,
    ) -> Self:
        """Compare representations with one another, and do not plot it yet.

        Parameters
        ----------
        rows : dict of str to object
            Representations of the same samples, or whatever `similarity` takes.
        similarity : callable
            Such as `linear_cka` or `subspace_overlap`: of two representations, a number or
            a result with ``similarity``.
        columns : dict of str to object, default=None
            Others to compare them with, such as those of another model. None compares
            those of `rows`, for which `similarity` is taken as symmetric.
        name : str, default=None
            What the numbers are; None is the name of the function.

        Returns
        -------
        SimilarityDisplay
            To be plotted.

        Raises
        ------
        TypeError
            When `rows` or `columns` is not a dict.
        ValueError
            When `similarity` returns several numbers.
        """
        others = rows if columns is None else columns
        for found in (rows, others):
            if not isinstance(found, Mapping):
                raise TypeError(
                    'rows and columns must be dicts, such as {"layer": X}, but one is a '
                    f"{type(found).__name__}."
                )
        matrix = np.empty((len(rows), len(others)))
        for i, left in enumerate(rows.values()):
            for j, right in enumerate(others.values()):
                if columns is None and j < i:
                    matrix[i, j] = matrix[j, i]
                else:
                    found = similarity(left, right)
                    found = getattr(found, "similarity", found)
                    if np.ndim(found):
                        raise ValueError("similarity must return a number, not several.")
                    matrix[i, j] = found
        name = getattr(similarity, "__name__", "similarity") if name is None else name
        return cls.from_matrix(matrix, rows, column_names=others, name=name)

    def plot(
        self,
        ax: "Axes | None" = None,
        *,
        include_values: bool | None = None,
        colorbar: bool = True,
        cmap: Any = "viridis",
        im_kw: dict[str, Any] | None = None,
    ) -> Self:
        """Draw the map.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Where; None makes a figure.
        include_values : bool, default=None
            Whether to write the numbers; None does up to 12 rows and columns.
        colorbar : bool, default=True
            Whether to add a colour bar.
        cmap : str or matplotlib Colormap, default="viridis"
            The colours.
        im_kw : dict, default=None
            For matplotlib's ``Axes.imshow``.

        Returns
        -------
        SimilarityDisplay
            The display itself.
        """
        self.ax_, self.figure_ = _axes(ax)
        settings = {"vmin": 0.0, "vmax": 1.0, "cmap": cmap, **(im_kw or {})}
        self.im_ = self.ax_.imshow(self.similarities, **settings)
        if include_values is None:
            include_values = max(self.similarities.shape) <= _MOST_ANNOTATED
        self.text_ = self._texts() if include_values else None
        self.colorbar_ = None
        if colorbar:
            self.colorbar_ = self.figure_.colorbar(self.im_, ax=self.ax_, label=self.name)
        self.ax_.set_xticks(range(len(self.column_names)), self.column_names)
        self.ax_.set_yticks(range(len(self.row_names)), self.row_names)
        is_long = sum(map(len, self.column_names)) > 30
        self.ax_.tick_params(axis="x", rotation=90 if is_long else 0)
        return self

    def _texts(self):
        low, high = (self.im_.cmap(end) for end in (0.0, 1.0))
        texts = np.empty(self.similarities.shape, dtype=object)
        for place, value in np.ndenumerate(self.similarities):
            # The end of the colours that is far from the cell's own; a blank is white.
            is_dark = self.im_.norm(value) < 0.5
            colour = high if is_dark and not np.isnan(value) else low
            texts[place] = self.ax_.text(
                *place[::-1], f"{value:.2f}", ha="center", va="center", color=colour
            )
        return texts


def _axes(ax):
    try:
        import matplotlib.pyplot as plt
    except ImportError as error:
        raise ImportError(
            'Plots need matplotlib: pip install "sklearn_rnla[plot]".'
        ) from error
    if ax is None:
        ax = plt.subplots(layout="constrained")[1]
    return ax, ax.figure


def _eigenvalues(found):
    if hasattr(found, "fit"):
        check_is_fitted(found)
    for name in ("eigenvalues", "explained_variance_"):
        found = getattr(found, name, found)
    values = np.asarray(found, dtype=np.float64)
    if values.ndim != 1 or not len(values):
        raise ValueError(f"Eigenvalues have shape {values.shape}, but must be a vector.")
    return values


def _total(found, values):
    """Return the sum of all eigenvalues of a result of which `values` are known."""
    if hasattr(found, "total_variance"):
        return float(found.total_variance)
    ratio = getattr(found, "explained_variance_ratio_", None)
    if ratio is not None and ratio[0] > 0:
        return float(values[0] / ratio[0])
    return float(values.sum())
