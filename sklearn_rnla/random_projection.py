"""Random projections: every sketch as a transformer."""

from numbers import Integral, Real
from typing import Literal, Self

import numpy as np
import scipy.linalg
import scipy.sparse as sp
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.exceptions import DataDimensionalityWarning
from sklearn.random_projection import johnson_lindenstrauss_min_dim
from sklearn.utils.validation import check_is_fitted

from ._fitting import FittingMixin, fitting, warn_user
from ._refusals import refuse_not_finite
from ._sklearn import Interval, StrOptions
from ._typing import Array, ArrayAsX, Float, Int, MatrixLike, Seed, Tags
from ._validation import check_reduced, check_rows
from .linalg.dense.rank import numerical_rank
from .operators import is_read_lazily
from .operators.stacking import stack_rows
from .sketching import Sketch, SparseSign, make_distribution
from .sketching.distribution import fold_sparse_projection, project_rows


class SketchProjection(
    FittingMixin,
    ClassNamePrefixFeaturesOutMixin,
    TransformerMixin,
    BaseEstimator,
):
    """Projection of the features by a random sketch, which keeps distances.

    A drop-in replacement for scikit-learn's `SparseRandomProjection` and, with
    ``sketch="gaussian"``, `GaussianRandomProjection`. It uses the sketches on which the
    other estimators are built.

    Parameters
    ----------
    n_components : int or "auto", default="auto"
        Dimension of the result. "auto" means the smallest for which the
        Johnson-Lindenstrauss lemma guarantees that all distances between the samples of
        `fit` are kept within `eps`.
    eps : float, default=0.1
        Distortion of squared distances, in (0, 1), for `n_components` "auto".
    sketch : {"sparse_sign", "count", "gaussian", "srtt"}, default="sparse_sign"
        - "sparse_sign": `nnz` random signs for each feature; sparse data stay sparse;
        - "count": one random sign for each feature; the fastest, with the sparsest output;
        - "gaussian": independent normal entries;
        - "srtt": random signs, a cosine transform and a subset of its outputs; the fastest
          for dense data and many components. At most n_features components.

    nnz : int, default=2
        Signs for each feature, with "sparse_sign".
    dense_output : bool, default=False
        Whether the output is dense for sparse input too. That of "gaussian" and "srtt"
        is always dense.
    compute_inverse_components : bool, default=False
        Whether to set `inverse_components_`, a dense matrix. `inverse_transform` does not
        need it.
    block_size : int, default=None
        Rows of a block. None chooses by size; dask arrays keep their chunks.
    n_jobs : int, default=None
        Threads over row blocks. None means 1 unless in a :obj:`joblib.parallel_config`
        context.
    random_state : int, RandomState instance or None, default=None
        Seeds the sketch. Pass an int for reproducible results.

    Attributes
    ----------
    n_components_ : int
        Dimension of the result.
    sketch_ : Sketch
        The sketch S, of shape (n_components_, n_features_in_).
    components_ : ndarray or csr_array of shape (n_components_, n_features_in_)
        The sketch as a matrix. Not with "srtt", for which ``sketch_.to_dense()`` computes
        it.
    inverse_components_ : ndarray of shape (n_features_in_, n_components_)
        Pseudo-inverse of S. Only with `compute_inverse_components`.
    n_features_in_ : int
        Number of features.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Names of the features, where X has string names.

    See Also
    --------
    sklearn.random_projection.SparseRandomProjection : With entries at independent places.
    RandomizedPCA : The best projection of the data, instead of a random one.

    Notes
    -----
    For a row x, ``||S x||^2`` is ``||x||^2`` in expectation, with relative variance of
    about ``2 / n_components``, for all but "srtt" [1]_, [2]_; that of
    `SparseRandomProjection` is larger for sparse rows. A matrix of m rows costs ``2 nnz``
    flops for each stored entry, with "gaussian" ``2 n_components``, and with "srtt"
    ``O(log n_components)``.

    References
    ----------
    .. [1] Clarkson, K. L., & Woodruff, D. P. (2017). Low-rank approximation and regression
       in input sparsity time. Journal of the ACM, 63(6), 54.
    .. [2] Kane, D. M., & Nelson, J. (2014). Sparser Johnson-Lindenstrauss transforms.
       Journal of the ACM, 61(1), 4.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_rnla import SketchProjection
    >>> X = np.random.default_rng(0).standard_normal((25, 3000))
    >>> SketchProjection(random_state=0).fit_transform(X).shape
    (25, 2759)
    """

    n_components_: int
    sketch_: Sketch
    inverse_components_: Array

    _parameter_constraints: dict = {  # noqa: RUF012 - scikit-learn's name and type
        "n_components": [Interval(Integral, 1, None, closed="left"), StrOptions({"auto"})],
        "eps": [Interval(Real, 0, 1, closed="neither")],
        "sketch": [StrOptions({"sparse_sign", "count", "gaussian", "srtt"})],
        "nnz": [Interval(Integral, 1, None, closed="left")],
        "dense_output": ["boolean"],
        "compute_inverse_components": ["boolean"],
        "block_size": [Interval(Integral, 1, None, closed="left"), None],
        "n_jobs": [Integral, None],
        "random_state": ["random_state"],
    }

    def __init__(
        self,
        n_components: Int | Literal["auto"] = "auto",
        *,
        eps: Float = 0.1,
        sketch: Literal["sparse_sign", "count", "gaussian", "srtt"] = "sparse_sign",
        nnz: Int = 2,
        dense_output: bool = False,
        compute_inverse_components: bool = False,
        block_size: Int | None = None,
        n_jobs: Int | None = None,
        random_state: Seed = None,
    ) -> None:
        self.n_components = n_components
        self.eps = eps
        self.sketch = sketch
        self.nnz = nnz
        self.dense_output = dense_output
        self.compute_inverse_components = compute_inverse_components
        self.block_size = block_size
        self.n_jobs = n_jobs
        self.random_state = random_state

    @fitting
    def fit(self, X: MatrixLike, y: object = None) -> Self:
        """Draw the sketch, from the shape of X alone.

        Parameters
        ----------
        X : array-like, sparse matrix, memmap or dask array
            Data of shape (n_samples, n_features).
        y : Ignored
            Not used.

        Returns
        -------
        SketchProjection
            The fitted estimator itself. After an error it is as it was before.

        Raises
        ------
        ValueError
            When "auto" needs more components than there are features, or "srtt" is to
            have more.

        Warns
        -----
        DataDimensionalityWarning
            When `n_components` exceeds n_features.
        """
        rows = self._check_rows(X, reset=True)
        n_samples, n_features = rows.shape
        if n_samples is None:
            raise ValueError(
                "An iterator of blocks is used up by fit, which needs only the shape: "
                "fit an array of that shape, and transform the iterator."
            )
        self.n_components_ = self._check_n_components(n_samples, n_features)
        self.sketch_ = self._distribution(n_features).sample(self.random_state)
        self._dtype = rows.dtype
        # Once, for all blocks of all calls.
        self._drawn = self.sketch_.drawn()
        vars(self).pop("inverse_components_", None)
        if self.compute_inverse_components:
            inverse = self._lift(np.eye(self.n_components_)).T
            self.inverse_components_ = inverse.astype(rows.dtype)
        return self

    @property
    def components_(self) -> ArrayAsX:
        """The sketch as a matrix of shape (n_components_, n_features_in_).

        Returns
        -------
        ndarray or csr_array
            Sparse for "sparse_sign" and "count".
        """
        check_is_fitted(self)
        # scikit-learn evaluates this to show the estimator: nothing is drawn again.
        if self.sketch == "gaussian":
            return self._drawn.astype(self._dtype, copy=False)
        if self.sketch == "srtt":
            raise AttributeError(
                "There is no components_ with sketch='srtt', whose matrix is never formed: "
                "sketch_.to_dense() makes it."
            )
        return sp.csr_array(self.sketch_.matrix(self._drawn, self._dtype))

    def transform(self, X: MatrixLike) -> ArrayAsX:
        """Project X.

        Parameters
        ----------
        X : array-like, sparse matrix, memmap or dask array
            Data of shape (n_samples, n_features).

        Returns
        -------
        ndarray or csr_array of shape (n_samples, n_components_)
            ``X S^T``. Sparse for sparse X with "sparse_sign" or "count", unless
            `dense_output`; a lazy dense dask array if X is a dask array.
        """
        check_is_fitted(self)
        rows = self._check_rows(X, reset=False)
        self.sketch_.prepare(rows.nnz)
        drawn = self._drawn
        if self.sketch == "gaussian":
            drawn = drawn.astype(rows.dtype, copy=False)
        if not rows.lazy and rows.sparse and self._keeps_sparse():
            (parts,) = rows.fold(fold_sparse_projection, self.sketch_, drawn)
            projected = stack_rows(parts)
            refuse_not_finite(projected)
            return projected
        return rows.map(project_rows, self.sketch_, drawn, n_columns=self.n_components_)

    def inverse_transform(self, X: MatrixLike) -> ArrayAsX:
        """Map projections back to the space of the features.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_components_)
            As `transform` returns it.

        Returns
        -------
        ndarray of shape (n_samples, n_features_in_)
            The shortest rows of which these are the projections, by the pseudo-inverse of
            the sketch. Dense.

        Raises
        ------
        ValueError
            When X has another number of columns than `n_components_`.
        """
        check_is_fitted(self)
        X = check_reduced(self, X)
        if self.compute_inverse_components:
            return np.asarray(X @ self.inverse_components_.T.astype(X.dtype))
        Y = X.toarray() if sp.issparse(X) else X
        return self._lift(Y.astype(np.float64, copy=False)).astype(X.dtype, copy=False)

    def _keeps_sparse(self):
        return self.sketch in ("sparse_sign", "count") and not self.dense_output

    def _block_size(self, X):
        """Return the rows of a block; None leaves that to the source."""
        if self.block_size is not None or is_read_lazily(X):
            return self.block_size
        if not sp.issparse(X):
            # The threads of BLAS wait for one another after each product: fewer of them.
            fewer = max(2048, 2**22 // self.n_features_in_)
            return fewer if self.sketch == "gaussian" else None
        if not self._keeps_sparse():
            # What a block gives, 2 MB, is copied to the output from cache.
            return max(256, 2**18 // self.n_components_)
        from joblib import effective_n_jobs

        # Sparse blocks are joined, a copy: no more of them than threads.
        return max(1, -(-X.shape[0] // effective_n_jobs(self.n_jobs)))

    def _check_rows(self, X, *, reset):
        return check_rows(
            self,
            X,
            reset=reset,
            block_size=None if reset else self._block_size(X),
            n_jobs=self.n_jobs,
            check_all=True,
        )

    def _check_n_components(self, n_samples, n_features):
        """Return the number of components, or raise where there are too many."""
        k = self.n_components
        if k == "auto":
            with np.errstate(all="ignore"):
                # Out of the range of integers where eps is tiny, and negative then.
                k = int(johnson_lindenstrauss_min_dim(n_samples=n_samples, eps=self.eps))
            if not 0 < k <= n_features:
                raise ValueError(
                    f"eps={self.eps} and n_samples={n_samples} lead to a target dimension "
                    f"of {k}, which must be positive and at most n_features={n_features}: "
                    "pass n_components, or another eps."
                )
        if k > n_features:
            if self.sketch == "srtt":
                raise ValueError(
                    f"n_components={k} must be at most n_features={n_features} with "
                    "sketch='srtt'."
                )
            warn_user(
                f"n_components={k} exceeds n_features={n_features}: the projection is not "
                "smaller.",
                DataDimensionalityWarning,
            )
        return int(k)

    def _distribution(self, n_features):
        if self.sketch in ("gaussian", "srtt"):
            return make_distribution(self.sketch, self.n_components_, n_features)
        nnz = 1 if self.sketch == "count" else int(self.nnz)
        return SparseSign(self.n_components_, n_features, nnz=nnz)

    def _lift(self, Y):
        """Return ``Y (S^+)^T`` for dense Y, by way of ``S S^T`` where that is safe."""
        if self.sketch == "gaussian":
            S = self._drawn
        else:
            S = self.sketch_.columns(0, self.n_features_in_)
        gram = S @ S.T
        gram = gram.toarray() if sp.issparse(gram) else gram
        eigenvalues, vectors = scipy.linalg.eigh(gram)
        # A row of S may be empty: an eigenvalue of zero. One between is that of an S
        # whose condition its Gram matrix squares.
        kept = slice(len(gram) - numerical_rank(eigenvalues, gram.shape), None)
        least = eigenvalues[kept].min(initial=np.inf)
        if least < np.sqrt(np.finfo(np.float64).eps) * eigenvalues[-1]:
            S = S.toarray() if sp.issparse(S) else S
            return Y @ scipy.linalg.pinv(S).T
        vectors = vectors[:, kept]
        return np.asarray((((Y @ vectors) / eigenvalues[kept]) @ vectors.T) @ S)

    @property
    def _n_features_out(self):
        return self.n_components_

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags
