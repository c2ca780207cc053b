"""scikit-learn's own checks, for every estimator: joining is adding one instance."""

import pytest
from sklearn.utils.estimator_checks import parametrize_with_checks

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
from sklearn_rnla._identifiers import columns_of

ESTIMATORS = [
    CURSelector(),
    CURSelector(n_components=1, n_rows=1, random_state=0),
    CURSelector(n_components=1, n_rows=1, method="lupp", random_state=0),
    CURSelector(n_components=1, n_rows=1, method="qdeim", random_state=0),
    CURSelector(n_components=1, n_rows=1, method="leverage", random_state=0),
    CURSelector(n_components=1, method="supervised", random_state=0),
    CURSelector(n_components=1, refine="swap", random_state=0),
    MatrixCompleter(random_state=0),
    MatrixCompleter(solver="em", neighbors=False, keep_empty_features=True, clip=True),
    MatrixCompleter(1, solver="als", random_state=0),
    # Any residual will do: the data are not of low rank.
    MatrixCompleter(1, solver="exact", tol=1.0, random_state=0),
    MatrixCompleter(1, solver="gibbs", max_iter=10, random_state=0),
    MatrixCompleter(1, solver="iterative_svd", random_state=0),
    MatrixCompleter(solver="softimpute", alpha=0.1, random_state=0),
    NystroemGaussianProcessRegressor(n_landmarks=20, random_state=0),
    NystroemGaussianProcessRegressor(method="fitc", optimizer=None, alpha=0.1),
    NystroemKernel(n_components=10, random_state=0),
    NystroemKernel(landmarks="uniform", random_state=0),
    NystroemKernel("chi2", n_components=10, random_state=0),
    NystroemKernel("linear", landmarks="greedy", tol=0.1),
    NystroemRidge(random_state=0),
    NystroemRidge(solver="cg", tol=1e-10, random_state=0),
    NystroemRidge(exact=True, tol=1e-10, random_state=0),
    # Fewer landmarks than samples, so that it matters which; of the ten features that a
    # check has, fewer than 20 landmarks do not tell half of the variance.
    NystroemRidge(landmarks="uniform", n_landmarks=30, random_state=0),
    NystroemRidge(n_landmarks=0.95, gamma="scale", random_state=0),
    NystroemRidgeClassifier(landmarks="kmeans", n_landmarks=10, random_state=0),
    NystroemRidgeClassifier(random_state=0),
    NystroemSpectralClustering(random_state=0),
    RandomizedPCA(),
    RandomizedPCA(n_components=1),
    RandomizedPCA(with_mean=False),
    RandomizedPCA(n_components=1, whiten=True, random_state=0),
    # A tolerance of zero, as weights and repetitions draw other samples.
    RandomizedPCA(n_components=1, algorithm="krylov", tol=0.0, random_state=0),
    RandomizedPCA(n_components=0.5),
    RandomizedPCA(n_components=1, missing="em", random_state=0),
    RandomizedPCA(n_components="gavish-donoho"),
    RandomizedPCA(n_components=1, algorithm="krylov", tol=0, sketch="srtt", random_state=0),
    SketchProjection(2),
    SketchProjection(2, sketch="count", random_state=0),
    SketchProjection(2, sketch="gaussian", compute_inverse_components=True),
    SketchProjection(1, sketch="srtt"),
    SketchedRidge(),
    SketchedRidge(alpha=0),
    SketchedRidge(solver="direct", random_state=0),
    SketchedRidge(solver="iterative", random_state=0),
]


class TwoColumns(MatrixFactorizationRegressor):
    """Whose identifiers are the first two of any number of columns, at least two.

    The checks of scikit-learn make data of any number of columns.
    """

    def _check(self, X, *, reset):
        columns = columns_of(self, X, reset=reset)
        if len(columns) < 2:
            raise ValueError(f"X has {len(columns)} feature(s), but 2 are needed.")
        return columns[:2]


ESTIMATORS += [
    TwoColumns(random_state=0),
    *(TwoColumns(1, solver=s, random_state=0) for s in ("als", "iterative_svd")),
    TwoColumns(1, solver="exact", tol=1.0, clip=True, random_state=0),
    TwoColumns(solver="softimpute", alpha=0.1, random_state=0),
]


@pytest.mark.filterwarnings("ignore:.*What the entries do not determine:UserWarning")
# A check sets alpha, and none has a matrix of rank 1. Where the solver has no penalty, that
# is a warning and no error, as in scikit-learn for what another parameter turns off: a grid
# of solvers and penalties can be searched.
@pytest.mark.filterwarnings("ignore:alpha=.* has no effect:UserWarning")
@pytest.mark.filterwarnings("ignore:The solver .* stopped")
@parametrize_with_checks(ESTIMATORS)
def test_estimator_passes_the_checks_of_scikit_learn(estimator, check):
    check(estimator)


def test_every_public_estimator_is_checked():
    import sklearn_rnla

    public = {
        name
        for name in sklearn_rnla.__all__
        if hasattr(getattr(sklearn_rnla, name), "get_params")
    }
    assert public
    checked = {kind.__name__ for each in ESTIMATORS for kind in type(each).mro()}
    assert public <= checked
