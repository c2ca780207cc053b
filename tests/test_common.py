"""scikit-learn's own checks, for every estimator: joining is adding one instance."""

from sklearn.utils.estimator_checks import parametrize_with_checks

from sklearn_rnla import (
    CURSelector,
    NystroemKernel,
    NystroemRidge,
    NystroemRidgeClassifier,
    RandomizedPCA,
    SketchedRidge,
    SketchProjection,
)

ESTIMATORS = [
    CURSelector(),
    CURSelector(n_components=1, n_rows=1, random_state=0),
    CURSelector(n_components=1, n_rows=1, method="lupp", random_state=0),
    CURSelector(n_components=1, n_rows=1, method="qdeim", random_state=0),
    CURSelector(n_components=1, n_rows=1, method="leverage", random_state=0),
    CURSelector(n_components=1, method="supervised", random_state=0),
    CURSelector(n_components=1, refine="swap", random_state=0),
    NystroemKernel(n_components=10, random_state=0),
    NystroemKernel(landmarks="uniform", random_state=0),
    NystroemKernel("linear", landmarks="greedy", tol=0.1),
    NystroemRidge(random_state=0),
    NystroemRidge(solver="cg", tol=1e-10, random_state=0),
    NystroemRidge(centers="all", tol=1e-10, random_state=0),
    NystroemRidgeClassifier(random_state=0),
    RandomizedPCA(),
    RandomizedPCA(n_components=1),
    RandomizedPCA(with_mean=False),
    RandomizedPCA(n_components=1, whiten=True, random_state=0),
    # A tolerance of zero, as weights and repetitions draw other samples.
    RandomizedPCA(n_components=1, algorithm="krylov", tol=0.0, random_state=0),
    RandomizedPCA(n_components=0.5),
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
    assert public == {type(estimator).__name__ for estimator in ESTIMATORS}
