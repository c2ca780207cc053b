"""Errors of low-rank approximations, by rank."""

import numpy as np
from sklearn.utils.validation import check_array, check_is_fitted

from .axes import PALETTE, add_legend, axes_of, integer_ticks, named


class ReconstructionErrorDisplay:
    """How far low-rank approximations of a matrix are from it, by their rank.

    Parameters
    ----------
    errors : dict of str to ndarray of shape (rank + 1,)
        Frobenius norms of the errors of rank 0, 1, ..., relative to that of the matrix, by
        the name of the approximation. Means and biases do not count as rank.

    Attributes
    ----------
    ax_ : matplotlib Axes
        With the lines.
    figure_ : matplotlib Figure
        With the axes.
    lines_ : list of matplotlib Line2D
        One for each approximation.

    See Also
    --------
    sklearn_rnla.RandomizedPCA : Approximates by mixtures of all columns.
    sklearn_rnla.CURSelector : Approximates by some of the columns.
    sklearn_rnla.MatrixCompleter : Approximates what is known of a matrix.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_rnla import CURSelector, RandomizedPCA
    >>> from sklearn_rnla.plotting import ReconstructionErrorDisplay
    >>> X = np.random.default_rng(0).standard_normal((200, 10)) * 0.5 ** np.arange(10)
    >>> models = {
    ...     "PCA": RandomizedPCA(4, random_state=0).fit(X),
    ...     "CUR": CURSelector(4, random_state=0).fit(X),
    ... }
    >>> display = ReconstructionErrorDisplay.from_estimators(models, X)
    >>> display.errors["CUR"].shape
    (5,)
    >>> display.plot()  # doctest: +SKIP
    """

    def __init__(self, errors):
        self.errors = errors

    @classmethod
    def from_estimator(cls, estimator, X, *, name=None):
        """Make a display of a fitted estimator, and do not plot it yet.

        Parameters
        ----------
        estimator : object
            As of `from_estimators`.
        X : array-like of shape (n_samples, n_features)
            The matrix.
        name : str, default=None
            What it is called; None is the name of its class.

        Returns
        -------
        ReconstructionErrorDisplay
            To be plotted.
        """
        return cls.from_estimators({name or type(estimator).__name__: estimator}, X)

    @classmethod
    def from_estimators(cls, estimators, X):
        """Make a display of several fitted estimators, and do not plot it yet.

        Parameters
        ----------
        estimators : dict of str to object
            By their names, fitted: `RandomizedPCA` or others with ``components_`` of
            orthonormal rows, `CURSelector`, or `MatrixCompleter`. A completer must have
            been fitted to these rows.
        X : array-like of shape (n_samples, n_features)
            The matrix. Errors are of the entries that are not missing; only completers
            take others.

        Returns
        -------
        ReconstructionErrorDisplay
            To be plotted.

        Raises
        ------
        NotFittedError
            When an estimator is not fitted.
        TypeError
            When an estimator is none of the above, or `estimators` is not a dict.
        ValueError
            When X has another shape than was fitted, or has missing entries that an
            estimator does not take.
        """
        estimators = named(estimators, "estimators", '{"PCA": pca}')
        X = check_array(X, dtype=np.float64, ensure_all_finite="allow-nan")
        errors = {}
        for name, estimator in estimators.items():
            check_is_fitted(estimator)
            if X.shape[1] != estimator.n_features_in_:
                raise ValueError(
                    f"X has {X.shape[1]} features, but {name} was fitted to "
                    f"{estimator.n_features_in_}."
                )
            errors[name] = np.sqrt(np.maximum(_shares(name, estimator, X), 0.0))
        return cls(errors)

    def plot(self, ax=None, **kwargs):
        """Draw the errors.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Where; None makes a figure.
        **kwargs : dict
            For matplotlib's ``Axes.plot``.

        Returns
        -------
        ReconstructionErrorDisplay
            The display itself.
        """
        self.ax_, self.figure_ = axes_of(ax)
        self.lines_ = []
        for i, (name, errors) in enumerate(self.errors.items()):
            options = {"color": PALETTE[i % len(PALETTE)], "marker": ".", "label": name}
            ranks = np.arange(len(errors))
            self.lines_ += self.ax_.plot(ranks, errors, **(options | kwargs))
        self.ax_.set(xlabel="rank", ylabel="relative Frobenius error")
        self.ax_.set_ylim(bottom=0)
        integer_ticks(self.ax_)
        if len(self.errors) > 1:
            add_legend(self.ax_)
        return self


def _shares(name, estimator, X):
    """Return the squared errors of rank 0, 1, ..., as shares of the squares of X."""
    if hasattr(estimator, "row_factors_"):
        return _of_completion(name, estimator, X)
    if np.isnan(X).any():
        raise ValueError(f"X has missing entries, which {name} does not take.")
    total = np.sum(X**2) or 1.0
    if hasattr(estimator, "column_indices_"):
        # The columns in the order chosen, each by what it adds to those before.
        return _projected(X, np.linalg.qr(X[:, estimator.column_indices_])[0].T @ X) / total
    if not hasattr(estimator, "components_") or not hasattr(estimator, "singular_values_"):
        raise TypeError(f"{name}, a {type(estimator).__name__}, is no low-rank matrix.")
    X = X - getattr(estimator, "mean_", 0.0)
    return _projected(X, (X @ estimator.components_.T).T) / total


def _projected(X, coefficients):
    """Return the squares left of X by the first 0, 1, ... of some directions."""
    captured = np.einsum("ij,ij->i", coefficients, coefficients)
    return np.sum(X**2) - np.append(0.0, np.cumsum(captured))


def _of_completion(name, estimator, X):
    """Return the shares of a completion, which is cut to smaller ranks."""
    U, V = estimator.row_factors_, estimator.column_factors_
    if X.shape != (len(U), len(V)):
        raise ValueError(
            f"X has shape {X.shape}, but {name} was fitted to rows and columns of shape "
            f"{(len(U), len(V))}."
        )
    known = ~np.isnan(X)
    left = X - estimator.offset_ - estimator.row_biases_[:, np.newaxis]
    left = np.where(known, left - estimator.column_biases_, 0.0)
    Q, R = np.linalg.qr(U)
    P, S = np.linalg.qr(V)
    W, s, Zt = np.linalg.svd(R @ S.T, full_matrices=False)
    # The mean of samples has more singular values than the rank, all of which are the
    # model's: the last rank takes the rest.
    parts = np.split((Q @ W) * s, np.arange(1, estimator.rank_), axis=1)
    rows = np.split(Zt @ P.T, np.arange(1, estimator.rank_))
    shares = [np.sum(left**2)]
    for columns, directions in zip(parts, rows, strict=True):
        left -= np.where(known, columns @ directions, 0.0)
        shares.append(np.sum(left**2))
    return np.array(shares) / (np.sum(X[known] ** 2) or 1.0)
