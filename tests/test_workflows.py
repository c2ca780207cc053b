"""Estimators within those of scikit-learn that are made of others."""

import numpy as np
import pytest
import scipy.sparse as sp
import sklearn
from sklearn.compose import ColumnTransformer
from sklearn.datasets import make_classification
from sklearn.experimental import enable_halving_search_cv  # noqa: F401
from sklearn.frozen import FrozenEstimator
from sklearn.inspection import permutation_importance
from sklearn.model_selection import HalvingGridSearchCV, TunedThresholdClassifierCV
from sklearn.pipeline import FeatureUnion, make_pipeline

from sklearn_rnla import (
    CURSelector,
    MatrixCompleter,
    NystroemKernel,
    NystroemRidge,
    NystroemRidgeClassifier,
    RandomizedPCA,
    SketchedRidge,
    SketchProjection,
)

X, y = make_classification(200, 8, n_informative=4, random_state=0)

TRANSFORMERS = {
    RandomizedPCA(3, random_state=0): [f"randomizedpca{i}" for i in range(3)],
    NystroemKernel(n_components=3, random_state=0): [
        f"nystroemkernel{i}" for i in range(3)
    ],
    CURSelector(1, random_state=0): [],
    MatrixCompleter(2, solver="als", random_state=0): [f"f{i}" for i in range(8)],
    SketchProjection(3, random_state=0): [f"sketchprojection{i}" for i in range(3)],
}


@pytest.mark.parametrize("library", ["pandas", "polars"])
@pytest.mark.parametrize("transformer", TRANSFORMERS, ids=lambda t: type(t).__name__)
def test_frames_come_out_with_names(transformer, library):
    frames = pytest.importorskip(library)
    names = [f"f{i}" for i in range(8)]
    frame = frames.DataFrame(dict(zip(names, X.T, strict=True)))
    model = sklearn.clone(transformer).set_output(transform=library)
    out = model.fit_transform(frame)
    assert isinstance(out, frames.DataFrame)
    if not hasattr(model, "feature_names_in_"):
        pytest.skip("This scikit-learn reads no names of such frames.")
    expected = TRANSFORMERS[transformer]
    if isinstance(transformer, CURSelector):
        expected = [names[i] for i in model.column_indices_]
    assert list(out.columns) == expected == list(model.get_feature_names_out())
    assert np.allclose(out.to_numpy(), sklearn.clone(transformer).fit_transform(X))


def test_a_pipeline_with_a_memory_fits_its_steps_once(tmp_path):
    pipe = make_pipeline(
        RandomizedPCA(4, random_state=0), SketchedRidge(), memory=str(tmp_path)
    )
    first = pipe.fit(X, y).predict(X)
    assert np.array_equal(pipe.fit(X, y).predict(X), first)


def test_features_stand_side_by_side():
    union = FeatureUnion([(type(t).__name__, t) for t in TRANSFORMERS])
    assert union.fit_transform(X).shape == (200, 3 + 3 + 1 + 8 + 3)
    columns = ColumnTransformer(
        [("pca", RandomizedPCA(2), [0, 1, 2])], remainder="passthrough"
    )
    assert columns.fit_transform(X).shape == (200, 7)


def test_searches_thresholds_and_importances_take_them():
    halving = HalvingGridSearchCV(
        NystroemRidgeClassifier(random_state=0),
        {"alpha": [0.1, 10.0]},
        cv=3,
        random_state=0,
    )
    assert halving.fit(X, y).best_estimator_.score(X, y) > 0.8
    tuned = TunedThresholdClassifierCV(NystroemRidgeClassifier(random_state=0)).fit(X, y)
    assert tuned.score(X, y) > 0.8
    ridge = NystroemRidge(random_state=0).fit(X, y)
    importances = permutation_importance(ridge, X, y, n_repeats=2, random_state=0)
    assert importances.importances_mean.max() > 0


def test_a_frozen_estimator_stays_as_it_is():
    pca = RandomizedPCA(3, random_state=0).fit(X)
    frozen = make_pipeline(FrozenEstimator(pca), SketchedRidge()).fit(X[:50], y[:50])
    assert np.array_equal(frozen[0].transform(X), pca.transform(X))


@pytest.mark.skipif(
    "sparse_interface" not in sklearn.get_config(), reason="no such setting"
)
@pytest.mark.parametrize("interface", ["sparray", "spmatrix"])
@pytest.mark.parametrize("transformer", [SketchProjection(3), CURSelector(2)])
def test_sparse_output_follows_the_setting(transformer, interface):
    with sklearn.config_context(sparse_interface=interface):
        for container in (sp.csr_array, sp.csr_matrix):
            out = sklearn.clone(transformer).fit_transform(container(X))
            assert sp.isspmatrix(out) == (interface == "spmatrix")
