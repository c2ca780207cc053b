"""The Gaussian model behind principal components."""

import numpy as np
import pytest
import scipy.sparse as sp
from scipy.stats import multivariate_normal

from sklearn_rnla.linalg.singular.probabilistic_pca import ProbabilisticPCA
from sklearn_rnla.operators import as_row_matrix


def model(k, seed, noise=0.1):
    rng = np.random.default_rng(seed)
    V = np.linalg.qr(rng.standard_normal((6, 6)))[0][:k]
    return ProbabilisticPCA.above_rounding(
        V, rng.standard_normal(6), np.linspace(3, 1, k), noise
    )


@pytest.mark.parametrize("k", [1, 4, 6])
def test_precision_is_the_inverse_of_the_covariance(k, seed):
    gaussian = model(k, seed)
    identity = gaussian.precision() @ gaussian.covariance()
    np.testing.assert_allclose(identity, np.eye(6), atol=1e-13)


@pytest.mark.parametrize("k", [1, 4, 6])
@pytest.mark.parametrize("make", [np.asarray, sp.csr_array])
def test_the_likelihood_is_that_of_its_gaussian(k, make, seed):
    gaussian = model(k, seed)
    X = np.random.default_rng(seed).standard_normal((30, 6))
    expected = multivariate_normal(gaussian.mean, gaussian.covariance()).logpdf(X)
    np.testing.assert_allclose(gaussian.log_likelihood(as_row_matrix(make(X))), expected)


def test_a_model_without_noise_has_an_inverse(seed):
    gaussian = model(3, seed, noise=0.0)
    assert gaussian.noise == np.finfo(float).eps * gaussian.variances[0]
    assert np.isfinite(gaussian.precision()).all()
