"""scikit-learn's own checks, for every estimator: joining is adding one instance."""

import pytest
from sklearn.utils.estimator_checks import parametrize_with_checks
from sklearn.utils.validation import validate_data

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

ESTIMATORS = [
    CURSelector(),
    CURSelector(n_components=1, n_rows=1, random_state=0),
    CURSelector(n_components=1, n_rows=1, method="lupp", random_state=0),
    CURSelector(n_components=1, n_rows=1, method="qdeim", random_state=0),
    CURSelector(n_components=1, n_rows=1, method="leverage", random_state=0),
    CURSelector(n_components=1, method="supervised", random_state=0),
    CURSelector(n_components=1, refine="swap", random_state=0),
    MatrixCompleter(random_state=0),
    MatrixFactorizationRegressor(random_state=0),
    NystroemGaussianProcessRegressor(n_landmarks=20, random_state=0),
    NystroemGaussianProcessRegressor(method="fitc", optimizer=None, alpha=0.1),
    NystroemKernel(n_components=10, random_state=0),
    NystroemKernel(landmarks="uniform", random_state=0),
    NystroemKernel("linear", landmarks="greedy", tol=0.1),
    NystroemRidge(random_state=0),
    NystroemRidge(solver="cg", tol=1e-10, random_state=0),
    NystroemRidge(exact=True, tol=1e-10, random_state=0),
    NystroemRidgeClassifier(random_state=0),
    NystroemSpectralClustering(random_state=0),
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


class _WithoutPairs(MatrixCompleter):
    """Without the method that takes pairs of indices, not data."""

    @property
    def predict(self):
        raise AttributeError


class _OfFirstColumns(MatrixFactorizationRegressor):
    """Whose identifiers are the first two of any number of columns, at least two."""

    def _check(self, X, *, reset):
        X = validate_data(self, X, reset=reset)
        if X.shape[1] < 2:
            raise ValueError(f"X has {X.shape[1]} feature(s), but 2 are needed.")
        return X[:, :2]


# The same estimators, where the checks of data apply.
ON_DATA = [
    _OfFirstColumns(rank=1, random_state=0),
    _OfFirstColumns(rank=1, solver="als", random_state=0),
    _WithoutPairs(random_state=0),
    _WithoutPairs(neighbors=False, keep_empty_features=True, random_state=0),
    _WithoutPairs(1, solver="als", random_state=0),
    # Any residual will do: the data are not of low rank.
    _WithoutPairs(1, solver="exact", tol=1.0, random_state=0),
    _WithoutPairs(1, solver="gibbs", max_iter=10, random_state=0),
    _WithoutPairs(1, solver="iterative_svd", random_state=0),
    _WithoutPairs(solver="softimpute", alpha=0.1, random_state=0),
]

# Checks that fail as they pass other data than an estimator is for.
_GIVE_DATA = [
    "n_features_in_after_fitting",
    "estimators_dtypes",
    "dtype_object",
    "estimator_sparse_array",
    "estimator_sparse_matrix",
    "estimators_pickle",
    "f_contiguous_array_estimator",
    "methods_sample_order_invariance",
    "methods_subset_invariance",
    "dict_unchanged",
    "fit_idempotent",
    "fit2d_predict1d",
]
_GIVE_COLUMNS = [
    "fit_score_takes_y",
    "dont_overwrite_parameters",
    "n_features_in_after_fitting",
    "positive_only_tag_during_fit",
    "estimators_dtypes",
    "dtype_object",
    "pipeline_consistency",
    "estimators_nan_inf",
    "estimators_pickle",
    "f_contiguous_array_estimator",
    "regressors_train",
    "regressor_data_not_an_array",
    "regressors_no_decision_function",
    "supervised_y_2d",
    "regressors_int",
    "non_transformer_estimators_n_iter",
    "methods_sample_order_invariance",
    "methods_subset_invariance",
    "fit2d_1sample",
    "dict_unchanged",
    "fit2d_predict1d",
]


def _expected_failures(estimator):
    if type(estimator) is MatrixCompleter:
        return {f"check_{name}": "predict takes pairs of indices" for name in _GIVE_DATA}
    if type(estimator) is MatrixFactorizationRegressor:
        return {f"check_{name}": "X has two columns" for name in _GIVE_COLUMNS}
    return {}


@pytest.mark.filterwarnings("ignore:.*What the entries do not determine:UserWarning")
@parametrize_with_checks([*ESTIMATORS, *ON_DATA], expected_failed_checks=_expected_failures)
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
