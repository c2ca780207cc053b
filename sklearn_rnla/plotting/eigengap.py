"""The eigenvalues that tell the number of clusters."""

import numpy as np
from sklearn.utils.validation import check_is_fitted

from ..linalg.nystroem.spectral_embedding import DISCONNECTED
from .axes import MUTED, PALETTE, add_legend, axes_of, integer_ticks

# Eigenvalues shown beyond those of the clusters.
_MORE = 8


class EigengapDisplay:
    """The smallest eigenvalues of the normalised Laplacian, and the gap among them.

    Where data fall into k groups, k eigenvalues are near zero, and a gap follows.

    Parameters
    ----------
    eigenvalues : ndarray of shape (n_eigenvalues,)
        Of the normalised Laplacian, in increasing order.
    n_clusters_hint : int
        The number of clusters that the gap suggests.
    n_clusters : int, default=None
        The number that was asked for.

    Attributes
    ----------
    ax_ : matplotlib Axes
        With the eigenvalues.
    figure_ : matplotlib Figure
        With the axes.
    line_ : matplotlib Line2D
        The eigenvalues.
    gap_ : matplotlib artist
        The shade between the eigenvalues before and after the gap.
    n_clusters_line_ : matplotlib Line2D or None
        The mark of another number, where that was asked for.

    See Also
    --------
    sklearn_rnla.NystroemSpectralClustering : Finds clusters.

    Examples
    --------
    >>> from sklearn.datasets import make_blobs
    >>> from sklearn_rnla import NystroemSpectralClustering
    >>> from sklearn_rnla.plotting import EigengapDisplay
    >>> centers = [(0, 0), (6, 0), (0, 6)]
    >>> X, _ = make_blobs(300, centers=centers, random_state=0)
    >>> clustering = NystroemSpectralClustering(2, gamma=0.1, random_state=0).fit(X)
    >>> display = EigengapDisplay.from_estimator(clustering)
    >>> display.n_clusters_hint
    3
    >>> display.plot()  # doctest: +SKIP
    """

    def __init__(self, eigenvalues, n_clusters_hint, *, n_clusters=None):
        self.eigenvalues = eigenvalues
        self.n_clusters_hint = n_clusters_hint
        self.n_clusters = n_clusters

    @classmethod
    def from_estimator(cls, estimator):
        """Make a display of a fitted estimator, and do not plot it yet.

        Parameters
        ----------
        estimator : NystroemSpectralClustering
            Fitted.

        Returns
        -------
        EigengapDisplay
            To be plotted.

        Raises
        ------
        NotFittedError
            When the estimator is not fitted.
        """
        check_is_fitted(estimator)
        return cls(
            1 - estimator.eigenvalues_,
            estimator.n_clusters_hint_,
            n_clusters=estimator.n_clusters,
        )

    def plot(self, ax=None, *, n_eigenvalues=None, scale="log", **kwargs):
        """Draw the eigenvalues.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Where; None makes a figure.
        n_eigenvalues : int, default=None
            How many to show; None shows eight more than there are clusters.
        scale : {"log", "linear"}, default="log"
            Of the vertical axis. The gap is the largest ratio of neighbours, which is the
            largest distance on a logarithmic axis.
        **kwargs : dict
            For matplotlib's ``Axes.plot``.

        Returns
        -------
        EigengapDisplay
            The display itself.
        """
        self.ax_, self.figure_ = axes_of(ax)
        hint, asked = self.n_clusters_hint, self.n_clusters
        shown = n_eigenvalues or max(hint, asked or 0) + _MORE
        values = np.asarray(self.eigenvalues)[:shown]
        if scale == "log":
            # Zeros have no place on it: they are shown where they count as equal.
            values = np.maximum(values, DISCONNECTED)
        options = {"color": PALETTE[0], "marker": "o", "linestyle": ""}
        options["label"] = "eigenvalues"
        ranks = np.arange(1, len(values) + 1)
        (self.line_,) = self.ax_.plot(ranks, values, **(options | kwargs))
        self.gap_ = self.ax_.axvspan(
            hint, hint + 1, color=PALETTE[1], alpha=0.2, label=f"gap after {hint}"
        )
        self.n_clusters_line_ = None
        if asked not in (None, hint):
            self.n_clusters_line_ = self.ax_.axvline(
                asked + 0.5, color=MUTED, linestyle="--", label=f"n_clusters={asked}"
            )
        self.ax_.set(xlabel="number", ylabel="eigenvalue of the Laplacian", yscale=scale)
        integer_ticks(self.ax_)
        add_legend(self.ax_)
        return self
