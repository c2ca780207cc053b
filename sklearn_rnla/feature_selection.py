"""Selection of real columns, and real rows, that span the data."""

from numbers import Integral, Real
from typing import Literal, Self

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.feature_selection import SelectorMixin
from sklearn.preprocessing import LabelBinarizer
from sklearn.utils.multiclass import type_of_target
from sklearn.utils.validation import check_is_fitted

from ._fitting import FittingMixin, fitting, warn_user
from ._random import generator
from ._refusals import refuse_target, refuse_unordered
from ._sklearn import Interval, StrOptions, _check_y
from ._typing import Array, ArrayAsX, ArrayLike, Float, Indices, Int, MatrixLike, Seed, Tags
from ._validation import check_rank, check_reduced, check_rows
from .linalg.column_subset import CONSTRAINTS, check_n_columns
from .linalg.columns.gather import gather_columns
from .linalg.columns.rows import choose_rows, row_weights
from .linalg.columns.select import METHODS
from .linalg.dense.pivoting import column_squared_norms
from .linalg.singular.truncated_svd import leading_right
from .operators import CenteredMatrix, is_read_lazily, passes
from .operators.scaling import in_unit
from .operators.sources import refuse_not_in_memory


class CURSelector(FittingMixin, SelectorMixin, BaseEstimator):
    """Selection of the columns, and rows, of which the data are combinations.

    Where PCA gives mixtures of all features, this keeps a few features unchanged, so they
    remain interpretable, and sparse where the data are sparse. `inverse_transform`
    reconstructs the others from them. With `n_rows` it selects samples as well, which
    gives a CUR decomposition.

    Parameters
    ----------
    n_components : int, float or None, default=None
        How many columns:

        - int: that many, at most ``min(n_samples, n_features)``;
        - float in (0, 1): the fewest that span this share of the squared Frobenius norm;
        - None: the fewest whose relative error is at most `tol`.

    n_rows : int, default=None
        How many rows, at most ``min(n_samples, n_features)``. None selects columns only.
    tol : float, default=0.1
        Relative error ``||X - C C^+ X||_F / ||X||_F``, for `n_components` None.
    method : {"cpqr", "lupp", "qdeim", "greedy", "leverage", "leverage-top", \
            "supervised"}, default="cpqr"
        How columns are chosen, from a sketch of the rows:

        - "cpqr": QR with column pivoting of the sketch [2]_;
        - "lupp": LU with partial pivoting of a smaller sketch; the fastest, at an error a
          few percent above that of "cpqr" [3]_;
        - "qdeim": column pivoting of the leading right singular vectors; more accurate,
          but more passes [4]_;
        - "greedy": each step takes the column that reduces the error of the whole sketch
          most [5]_;
        - "leverage": drawn by leverage scores, without replacement; mostly the least
          accurate [1]_;
        - "leverage-top": the columns with the highest leverage scores;
        - "supervised": as "greedy", but the columns should span y as well as the data, both
          centred. The units of the columns do not matter. Needs y in `fit`.

    refine : {"swap"} or None, default=None
        Whether to exchange the columns chosen, one at a time, as long as that lowers the
        error on a larger sketch. The methods then are within a few percent of one another.
    mixing : float, default=0.5
        With "supervised", the weight of the data (with columns of unit variance) against y
        in the error to reduce: 0 selects for y alone, 1 for the data alone.
    compute_leverage_scores : bool, default=False
        Whether to set `leverage_scores_`.
    sketch_size : int, default=None
        Number of rows of the sketch. None means 8 for each column and 10 more; with
        `refine` 16 for each column, with "lupp" alone one for each column, with
        "supervised" at least 2048. If the sketch would be as large as the data, the data
        themselves are used.
    block_size : int, default=None
        Rows of a block. None chooses by size; dask arrays keep their chunks.
    n_jobs : int, default=None
        Threads over row blocks. None means 1 unless in a :obj:`joblib.parallel_config`
        context.
    random_state : int, RandomState instance or None, default=None
        Seeds the sketches. Pass an int for reproducible results.

    Attributes
    ----------
    column_indices_ : ndarray of shape (n_components_,)
        The columns in the order chosen: the best first. `transform` keeps their order in X.
    n_components_ : int
        Number of columns.
    interpolation_ : ndarray of shape (n_components_, n_features_in_)
        ``C^+ X``: all columns as combinations of those chosen, in the order chosen.
    error_estimate_ : float
        ``||X - C C^+ X||_F / ||X||_F`` over all the data. It is exact up to rounding if it
        is above the square root of the rounding unit; smaller errors are measured on the
        sketch. With `n_rows`, it is the error of ``C U R``.
    row_indices_ : ndarray of shape (r,)
        The rows in the order chosen. This and the following attributes exist only with
        `n_rows`.
    row_weights_ : ndarray of shape (r,)
        Non-negative weights with which the rows represent all rows:
        ``R^T diag(row_weights_) R`` is as close to ``X^T X`` as possible. Pass them as
        ``sample_weight``.
    C_ : ndarray or csr_array of shape (n_samples, n_components_)
        The columns in the order chosen; sparse where X is, lazy where X is a dask array.
    U_ : ndarray of shape (n_components_, r)
        ``C^+ X R^+``, the best matrix between C and R.
    R_ : ndarray or csr_array of shape (r, n_features_in_)
        The rows in the order chosen; sparse where X is.
    leverage_scores_ : ndarray of shape (n_features_in_,)
        Leverage scores of the columns, from `n_components_` right singular vectors. Only
        with `compute_leverage_scores`.
    n_passes_ : int
        Passes made over all the data.
    n_features_in_ : int
        Number of features.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Names of the features, where X has string names.

    See Also
    --------
    RandomizedPCA : The best directions, of no real columns.
    sklearn.feature_selection.SelectKBest : By a score of each feature alone.
    sklearn_rnla.plotting.ReconstructionErrorDisplay : Plots errors by rank.

    Notes
    -----
    Two passes: a sparse-sign sketch, in time linear in the stored entries, and a least
    squares problem with the columns found, preconditioned by the sketch, ``2 k`` flops for
    each stored entry. Sparse data stay sparse.

    A transformer keeps all samples, and so does `transform`; the samples selected are
    `row_indices_`.

    References
    ----------
    .. [1] Mahoney, M. W., & Drineas, P. (2009). CUR matrix decompositions for improved data
       analysis. PNAS, 106(3), 697-702.
    .. [2] Voronin, S., & Martinsson, P.-G. (2017). Efficient algorithms for CUR and
       interpolative matrix decompositions. Advances in Computational Mathematics, 43,
       495-516.
    .. [3] Dong, Y., & Martinsson, P.-G. (2023). Simpler is better: a comparative study of
       randomized pivoting algorithms for CUR and interpolative decompositions. Advances in
       Computational Mathematics, 49, 66.
    .. [4] Drmac, Z., & Gugercin, S. (2016). A new selection operator for the discrete
       empirical interpolation method. SIAM Journal on Scientific Computing, 38(2),
       A631-A648.
    .. [5] Farahat, A. K., Elgohary, A., Ghodsi, A., & Kamel, M. S. (2015). Greedy column
       subset selection for large-scale data sets. Knowledge and Information Systems, 45,
       1-34.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sklearn_rnla import CURSelector
    >>> X = load_iris(as_frame=True).data
    >>> selector = CURSelector(n_components=2, random_state=0).fit(X)
    >>> selector.get_feature_names_out()
    array(['sepal length (cm)', 'petal length (cm)'], dtype=object)
    >>> round(selector.error_estimate_, 3)
    0.049
    """

    column_indices_: Indices
    n_components_: int
    interpolation_: Array
    error_estimate_: float
    row_indices_: Indices
    row_weights_: Array
    C_: ArrayAsX
    U_: Array
    R_: ArrayAsX
    leverage_scores_: Array
    n_passes_: int

    _parameter_constraints: dict = {  # noqa: RUF012 - scikit-learn's name and type
        **CONSTRAINTS,
        "n_rows": [Interval(Integral, 1, None, closed="left"), None],
        "method": [StrOptions({*METHODS, "supervised"})],
        "mixing": [Interval(Real, 0, 1, closed="both")],
        "compute_leverage_scores": ["boolean"],
        "random_state": ["random_state"],
    }

    def __init__(
        self,
        n_components: Float | None = None,
        *,
        n_rows: Int | None = None,
        tol: Float = 0.1,
        method: Literal[
            "cpqr", "lupp", "qdeim", "greedy", "leverage", "leverage-top", "supervised"
        ] = "cpqr",
        refine: Literal["swap"] | None = None,
        mixing: Float = 0.5,
        compute_leverage_scores: bool = False,
        sketch_size: Int | None = None,
        block_size: Int | None = None,
        n_jobs: Int | None = None,
        random_state: Seed = None,
    ) -> None:
        self.n_components = n_components
        self.n_rows = n_rows
        self.tol = tol
        self.method = method
        self.refine = refine
        self.mixing = mixing
        self.compute_leverage_scores = compute_leverage_scores
        self.sketch_size = sketch_size
        self.block_size = block_size
        self.n_jobs = n_jobs
        self.random_state = random_state

    @fitting
    def fit(self, X: MatrixLike, y: ArrayLike | None = None) -> Self:
        """Select columns of X, and rows if asked for.

        Parameters
        ----------
        X : array-like, sparse matrix, memmap or dask array
            Data of shape (n_samples, n_features). Not centred: scale or centre it before,
            if columns of large values are not to come first.
        y : array-like of shape (n_samples,) or (n_samples, n_targets), default=None
            For ``method="supervised"``: floats are numbers, all else is class labels.
            Otherwise ignored.

        Returns
        -------
        CURSelector
            The fitted estimator itself. After an error it is as it was before.

        Raises
        ------
        ValueError
            When X has NaN or infinity, or is zero; when `n_components` or `n_rows` exceeds
            ``min(n_samples, n_features)``.

        Warns
        -----
        UserWarning
            When X has lower rank than `n_components` or `n_rows`: fewer come.
        """
        rows = check_rows(
            self,
            X,
            reset=True,
            block_size=self.block_size,
            n_jobs=self.n_jobs,
            min_samples=1 + (self.method == "supervised"),
            rereads=True,
        )
        k, tol = check_n_columns(self.n_components, self.tol, self.method, rows)
        if self.n_rows is not None:
            check_rank("n_rows", int(self.n_rows), rows.shape)
        rows, unit = in_unit(rows)
        # A column with a large mean is not, for that, one that predicts.
        A = CenteredMatrix(rows, center=self.method == "supervised")
        rng = generator(self.random_state)
        gathered, c = gather_columns(
            A,
            k,
            tol=tol,
            n_rows=self.n_rows or 0,
            keep=self.n_rows is not None,
            method=self.method,
            refine=self.refine,
            sketch_size=self.sketch_size,
            response=self._response(A, y),
            rng=rng,
        )
        if not c:
            raise ValueError("X is zero: it has no columns to select.")
        self._set_results(A, gathered, c, unit)
        self._warn_if_fewer("n_components", self.n_components_)
        if self.n_rows is not None:
            self._warn_if_fewer("n_rows", len(self.row_indices_))
        if self.compute_leverage_scores:
            V = leading_right(CenteredMatrix(rows, center=False), self.n_components_, rng)
            self.leverage_scores_ = column_squared_norms(V)
        self.n_passes_ = A.n_passes
        return self

    def transform(self, X: MatrixLike) -> ArrayAsX:
        """Keep the columns selected, in their order in X.

        Parameters
        ----------
        X : array-like, sparse matrix, memmap or dask array
            Data of shape (n_samples, n_features).

        Returns
        -------
        ndarray, csr_array or data frame of shape (n_samples, n_components_)
            Sparse where X is; a lazy dask array if X is one.
        """
        check_is_fitted(self)
        if not is_read_lazily(X):
            return super().transform(X)
        rows = check_rows(
            self, X, reset=False, block_size=self.block_size, n_jobs=self.n_jobs
        )
        indices = np.sort(self.column_indices_)
        return rows.map(passes.take_columns, indices, n_columns=len(indices))

    def inverse_transform(self, X: MatrixLike) -> ArrayAsX:
        """Reconstruct all columns from those selected.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_components_)
            As `transform` returns it.

        Returns
        -------
        ndarray of shape (n_samples, n_features_in_)
            ``X interpolation_``: the selected columns as they are, the others as their
            least squares combinations on the data of `fit`. Dense.

        Raises
        ------
        ValueError
            When X has another number of columns than `n_components_`.
        """
        check_is_fitted(self)
        X = check_reduced(self, X)
        W = self.interpolation_[np.argsort(self.column_indices_)]
        return np.asarray(X @ W.astype(X.dtype))

    def _response(self, A, y):
        """Return what columns are chosen for, besides the data; None unless "supervised".

        It is a function of the sketch of the data, which gives a Gram matrix in its rows.
        """
        if self.method != "supervised":
            return None
        if y is None:
            raise ValueError(
                "method='supervised' requires y to be passed, but the target y is None."
            )
        Y = _as_response(self, y)
        if len(Y) != A.shape[0]:
            raise ValueError(
                "Found input variables with inconsistent numbers of samples: "
                f"{[A.shape[0], len(Y)]}"
            )

        def target(root):
            T = root.response(A, Y)
            # A share of the data in no unit: each column counts the same.
            B = root.unit_columns()
            of_data, of_response = B @ B.T, T @ T.T
            terms = ((self.mixing, of_data), (1 - self.mixing, of_response))
            return sum(share * M / (np.trace(M) or 1.0) for share, M in terms)

        return target

    def _set_results(self, A, gathered, c, unit):
        for name in ("row_indices_", "row_weights_", "C_", "U_", "R_", "leverage_scores_"):
            vars(self).pop(name, None)
        self.error_estimate_ = float(gathered.errors[c])
        if self.n_rows is not None:
            cur = choose_rows(A, gathered, c, self.n_rows)
            self.row_weights_ = row_weights(A, cur.R)
            cur = cur.times(unit)
            self.row_indices_, self.error_estimate_ = cur.row_indices, cur.error_estimate
            self.C_, self.U_, self.R_ = cur.C, cur.U, cur.R
        self.column_indices_ = gathered.indices[:c]
        self.n_components_ = c
        self.interpolation_ = gathered.interpolation(c).astype(A.dtype)

    def _warn_if_fewer(self, name, found):
        asked = getattr(self, name)
        if isinstance(asked, Integral) and found < asked:
            warn_user(f"{name}={asked} exceeds the numerical rank of X: {found} selected.")

    def _get_support_mask(self):
        check_is_fitted(self)
        mask = np.zeros(self.n_features_in_, dtype=bool)
        mask[self.column_indices_] = True
        return mask

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        tags.target_tags.required = self.method == "supervised"
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags


def _as_response(estimator, y):
    """Return numbers, or indicators of classes, as centred columns of unit norm."""
    refuse_target(y)
    refuse_not_in_memory(y, "y")
    y = y if hasattr(y, "shape") else np.asarray(y)
    if np.asarray(y).dtype.kind != "f":
        refuse_unordered(y)
    if np.asarray(y).dtype.kind != "f" and type_of_target(y) in ("binary", "multiclass"):
        Y = LabelBinarizer().fit_transform(np.asarray(y).ravel())
        Y = np.hstack([1 - Y, Y]) if Y.shape[1] == 1 else Y
    else:
        Y = _check_y(y, multi_output=True, y_numeric=True, estimator=estimator)
    Y = Y.reshape(len(Y), -1).astype(np.float64)
    return Y - Y.mean(axis=0)
