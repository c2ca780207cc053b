"""A matrix of similarities."""

import numpy as np

from .axes import axes_of, named

# Cells up to this many along a side have their number written in them.
_MOST_ANNOTATED = 12


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

    def __init__(self, similarities, row_names, column_names, *, name="similarity"):
        self.similarities = similarities
        self.row_names = row_names
        self.column_names = column_names
        self.name = name

    @classmethod
    def from_matrix(cls, similarities, names, *, column_names=None, name="similarity"):
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
    def from_representations(cls, rows, similarity, *, columns=None, name=None):
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
        rows = named(rows, "rows", '{"layer": X}')
        others = rows if columns is None else named(columns, "columns", '{"layer": X}')
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

    @classmethod
    def from_estimator(cls, estimator, X, similarity, *, name=None):
        """Compare the data and what each step of a pipeline makes of them.

        Parameters
        ----------
        estimator : Pipeline
            Fitted.
        X : array-like of shape (n_samples, n_features)
            Samples.
        similarity : callable
            As of `from_representations`.
        name : str, default=None
            What the numbers are; None is the name of the function.

        Returns
        -------
        SimilarityDisplay
            To be plotted.

        Raises
        ------
        TypeError
            When the estimator has no steps.
        """
        if not hasattr(estimator, "steps"):
            raise TypeError(
                f"{type(estimator).__name__} has no steps to compare: pass a Pipeline, or "
                "representations to from_representations."
            )
        layers = {"data": X}
        for step, transformer in estimator.steps:
            if hasattr(transformer, "transform"):
                X = layers[step] = transformer.transform(X)
        return cls.from_representations(layers, similarity, name=name)

    def plot(
        self, ax=None, *, include_values=None, colorbar=True, cmap="viridis", im_kw=None
    ):
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
        self.ax_, self.figure_ = axes_of(ax)
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
