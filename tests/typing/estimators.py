"""What mypy and pyright are to make of estimators: checked, never run."""

from collections.abc import Iterator
from typing import Any, assert_type

import numpy as np
import pandas as pd
import scipy.sparse as sp
from sklearn.gaussian_process.kernels import RBF, WhiteKernel
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline

from sklearn_rnla import (
    CURSelector,
    MatrixCompleter,
    MatrixFactorizationRegressor,
    NystroemGaussianProcessRegressor,
    NystroemKernel,
    NystroemRidge,
    NystroemRidgeClassifier,
    NystroemSpectralClustering,
    RandomizedPCA,
    SketchedRidge,
    SketchProjection,
)
from sklearn_rnla._typing import AnyArray, Array, ArrayAsX, Indices
from sklearn_rnla.impute import FoldedRows

rng = np.random.default_rng(0)
X = rng.standard_normal((100, 8))
y = X[:, 0]


def blocks() -> Iterator[AnyArray]:
    """Yield blocks of rows."""
    yield X[:50]
    yield X[50:]


# Sources.
frame = pd.DataFrame(X)
sparse = sp.csr_array(X)
mapped = np.memmap("X", dtype=np.float32, shape=(100, 8))
pca = RandomizedPCA(n_components=0.9, algorithm="krylov", random_state=rng)
assert_type(pca.fit(X), RandomizedPCA)
for source in (X, frame, sparse, mapped, X.tolist()):
    pca.fit(source).transform(source)
pca.fit(blocks())
pca.partial_fit(X, sample_weight=np.ones(100)).partial_fit(frame)

# Results.
assert_type(pca.components_, Array)
assert_type(pca.error_estimate_, float)
assert_type(pca.n_features_in_, int)
assert_type(RandomizedPCA().transform(X), ArrayAsX)
RandomizedPCA().fit_transform(X).mean(axis=0)
RandomizedPCA().set_output(transform="pandas").fit_transform(X).columns
assert_type(pca.get_covariance(), Array)

# Kernels.
for kernel in ("rbf", RBF(), np.inner):
    NystroemKernel(kernel, n_components=np.int64(50), landmarks=np.arange(3)).fit(X)
assert_type(NystroemKernel(n_components=0.9).fit(sparse), NystroemKernel)
NystroemKernel(gamma="scale", landmarks=X[:5]).fit_transform(frame)
ridge = NystroemRidge(alpha=[0.1, 1.0]).fit(X, X[:, :2], sample_weight=[1.0] * 100)
NystroemRidge(alpha=np.float32(1), alphas=np.logspace(-3, 3, 7), n_landmarks=0.99)
assert_type(ridge, NystroemRidge)
assert_type(ridge.dual_coef_, Array)
classifier = NystroemRidgeClassifier(class_weight="balanced").fit(frame, ["a", "b"] * 50)
assert_type(classifier.classes_, AnyArray)
assert_type(classifier.decision_function(X), Array)
clusters = NystroemSpectralClustering(3, affinity=RBF(), assign_labels="cluster_qr")
assert_type(clusters.fit(X).labels_, Indices)
assert_type(clusters.predict(X), Indices)

# Results that change with an argument.
gpr = NystroemGaussianProcessRegressor(1.0 * RBF() + WhiteKernel(), n_landmarks=50)
assert_type(gpr.fit(X, y).predict(X), ArrayAsX)
assert_type(gpr.predict(X, return_std=True), tuple[Array, Array])
assert_type(gpr.predict(X, return_cov=True), tuple[Array, Array])
assert_type(gpr.log_marginal_likelihood(), float)
assert_type(gpr.log_marginal_likelihood(eval_gradient=True), tuple[float, Array])
factors = MatrixFactorizationRegressor(rank="auto", solver="gibbs").fit([["a", 1]], [2.0])
assert_type(factors.predict(frame), Array)
assert_type(factors.predict(frame, return_std=True), tuple[Array, Array])
assert_type(factors.predict_entries(["a"], [1]), Array)

# Missing values, columns, projections.
completer = MatrixCompleter(rank=3, missing_values=-1)
assert_type(completer.fit(frame), MatrixCompleter)
assert_type(completer.predict_entries([0], [1], return_std=True), tuple[Array, Array])
assert_type(completer.fold_in(sparse), FoldedRows)
assert_type(completer.recommend([0, 1], n=3), tuple[Indices, Array])
selector = CURSelector(5, n_rows=5, method="supervised", refine="swap").fit(X, y)
assert_type(selector.column_indices_, Indices)
selector.fit(sparse).transform(sparse)
SketchProjection("auto", sketch="srtt").fit(X).sketch_.to_dense()
assert_type(SketchedRidge(alpha=[1.0, 2.0]).fit(sparse, X[:, :2]).coef_, Array)

# With scikit-learn.
make_pipeline(RandomizedPCA(5), NystroemRidge()).fit(X, y).predict(X)
GridSearchCV(NystroemRidge(), {"alpha": [1, 2]}).fit(X, y)
params: dict[str, Any] = {"n_components": 3}
RandomizedPCA(**params).fit(X)

# Mistakes are found.
RandomizedPCA(algorithm="arpack")  # type: ignore[arg-type]
RandomizedPCA(n_componnents=3)  # type: ignore[call-arg]
gpr.predict(X, return_std=True).mean()  # type: ignore[attr-defined]
