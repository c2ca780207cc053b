"""Where landmarks lie, and what each of them adds."""

import numpy as np
from sklearn.decomposition import PCA
from sklearn.utils.validation import check_array, check_is_fitted, check_random_state

from ..linalg.nystroem.landmarks import inverse_root
from .axes import MUTED, PALETTE, axes_of, check_kind, integer_ticks

# Samples that are shown, and that errors are estimated from.
_MOST_SAMPLES = 2000


class LandmarksDisplay:
    """Landmarks among the samples, and the trace error by their number.

    Parameters
    ----------
    samples : ndarray of shape (n_samples, 2)
        Samples in the plane.
    landmarks : ndarray of shape (n_landmarks, 2)
        Landmarks in the plane, in the order in which they were chosen.
    errors : ndarray of shape (n_landmarks + 1,) or None
        Relative trace errors with the first 0, 1, ... landmarks.
    names : tuple of str, default=("component 1", "component 2")
        What the directions of the plane are.

    Attributes
    ----------
    ax_ : matplotlib Axes
        With the plot.
    figure_ : matplotlib Figure
        With the axes.
    samples_ : matplotlib PathCollection or None
        The samples; None for ``kind="error"``.
    landmarks_ : matplotlib PathCollection or None
        The landmarks; None for ``kind="error"``.
    line_ : matplotlib Line2D or None
        The errors; None for ``kind="map"``.

    See Also
    --------
    sklearn_rnla.NystroemKernel : Chooses landmarks.
    sklearn_rnla.NystroemRidge : Chooses them for a regression.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_rnla import NystroemKernel
    >>> from sklearn_rnla.plotting import LandmarksDisplay
    >>> X = np.random.default_rng(0).standard_normal((200, 3))
    >>> nystroem = NystroemKernel(n_components=20, random_state=0).fit(X)
    >>> display = LandmarksDisplay.from_estimator(nystroem, X)
    >>> display.landmarks.shape, display.errors.shape
    ((20, 2), (21,))
    >>> bool(np.isclose(display.errors[-1], nystroem.error_estimate_))
    True
    >>> display.plot()  # doctest: +SKIP
    """

    def __init__(self, samples, landmarks, errors, *, names=("component 1", "component 2")):
        self.samples = samples
        self.landmarks = landmarks
        self.errors = errors
        self.names = names

    @classmethod
    def from_estimator(cls, estimator, X, *, random_state=0):
        """Make a display of a fitted estimator, and do not plot it yet.

        Parameters
        ----------
        estimator : NystroemKernel, NystroemRidge, NystroemRidgeClassifier or \
                NystroemSpectralClustering
            Fitted, with a kernel of samples, not a precomputed one.
        X : array-like or sparse matrix of shape (n_samples, n_features)
            Samples, such as those fitted. Of more than 2000, as many are drawn. They are
            shown in the plane of their two principal components, or in that of the
            features where there are two.
        random_state : int, RandomState instance or None, default=0
            Draws them.

        Returns
        -------
        LandmarksDisplay
            To be plotted.

        Raises
        ------
        NotFittedError
            When the estimator is not fitted.
        TypeError
            When it has no landmarks.
        ValueError
            When its kernel is precomputed, or X has another number of features.
        """
        check_is_fitted(estimator)
        kernel = _kernel_of(estimator)
        points = estimator.components_
        X = check_array(X, accept_sparse="csr", dtype=[np.float64, np.float32])
        if X.shape[1] != points.shape[1]:
            raise ValueError(
                f"X has {X.shape[1]} features, but the landmarks have {points.shape[1]}."
            )
        if X.shape[0] > _MOST_SAMPLES:
            rng = check_random_state(random_state)
            X = X[np.sort(rng.choice(X.shape[0], _MOST_SAMPLES, replace=False))]
        names = tuple(getattr(estimator, "feature_names_in_", ("feature 1", "feature 2")))
        if X.shape[1] == 2:
            plane = [X, points]
        else:
            names = ("component 1", "component 2")
            pca = PCA(min(2, *X.shape), svd_solver="arpack" if min(X.shape) > 2 else "auto")
            pca.fit(X)
            plane = [pca.transform(X), pca.transform(points)]
        plane = [_two_columns(part) for part in plane]
        return cls(*plane, _errors(kernel, points, X), names=names)

    def plot(self, ax=None, *, kind="map", **kwargs):
        """Draw the landmarks, or the errors.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Where; None makes a figure.
        kind : {"map", "error"}, default="map"
            The landmarks among the samples, or the trace error by their number.
        **kwargs : dict
            For matplotlib's ``Axes.scatter`` of the landmarks, or ``Axes.plot``.

        Returns
        -------
        LandmarksDisplay
            The display itself.

        Raises
        ------
        ValueError
            When `kind` is none of the above, or there are no errors.
        """
        check_kind(kind, ("map", "error"))
        if kind == "error" and self.errors is None:
            raise ValueError(
                "The kernel has negative eigenvalues: its trace error means nothing."
            )
        self.ax_, self.figure_ = axes_of(ax)
        self.samples_ = self.landmarks_ = self.line_ = None
        if kind == "error":
            errors = np.where(self.errors > 0, self.errors, np.nan)
            options = {"color": PALETTE[0]} | kwargs
            (self.line_,) = self.ax_.plot(np.arange(len(errors)), errors, **options)
            self.ax_.set(xlabel="landmarks", ylabel="relative trace error", yscale="log")
            integer_ticks(self.ax_)
            return self
        self.samples_ = self.ax_.scatter(
            *self.samples.T, s=6, color=MUTED, alpha=0.5, linewidths=0, label="samples"
        )
        options = {"s": 18, "color": PALETTE[1], "linewidths": 0} | kwargs
        label = f"{len(self.landmarks)} landmarks"
        self.landmarks_ = self.ax_.scatter(*self.landmarks.T, label=label, **options)
        self.ax_.set(xlabel=self.names[0], ylabel=self.names[1])
        self.ax_.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=2)
        return self


def _kernel_of(estimator):
    """Return the kernel of an estimator with landmarks."""
    rule = getattr(estimator, "_rule", None)
    kernel = (
        getattr(estimator, "_kernel", None) if rule is None else rule.embedding_map.kernel
    )
    if kernel is None:
        raise TypeError(f"{type(estimator).__name__} has no landmarks of a kernel to show.")
    if not kernel.takes_points:
        raise ValueError("Landmarks of a precomputed kernel are no points to show.")
    return kernel


def _errors(kernel, points, X):
    """Return the trace errors on some samples; None for a kernel that is not definite."""
    if kernel.indefinite:
        return None
    K = kernel(points, points)
    root = inverse_root((K + K.T) / 2, np.finfo(X.dtype).eps)
    if not root.triangular:
        return None
    # A row of the triangular root belongs to the landmarks up to its own, and so does the
    # feature that it makes.
    features = kernel(X, points[root.kept]) @ root.W.T
    captured = np.cumsum(np.einsum("ij,ij->j", features, features))
    total = float(kernel.diagonal(X).sum())
    return np.maximum(1 - np.append(0.0, captured) / (total or 1.0), 0.0)


def _two_columns(X):
    """Return samples in the plane, dense, whatever their number of features."""
    X = X.toarray() if hasattr(X, "toarray") else np.asarray(X)
    return np.column_stack([X, np.zeros((len(X), 2 - X.shape[1]))])
