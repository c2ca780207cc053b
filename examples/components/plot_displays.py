"""
Looking at a fitted model
=========================

The displays of :mod:`sklearn_rnla.plotting` show what a fitted estimator knows: how sure
its variances are, what each landmark adds, where the eigengap is, how an iteration went.
They follow scikit-learn's conventions: ``from_estimator`` takes the fitted estimator,
``plot`` draws on the axes given to it, and the artists can be changed afterwards.
"""

# %%
# Principal components
# --------------------
#
# :class:`~sklearn_rnla.plotting.ExplainedVarianceDisplay` draws the scree plot. The error
# of this fit is large on purpose, fifty times the default ``tol``. The band reaches from
# the variance of the components found to the most that the best components may have, by
# ``error_estimate_``. Thresholds are those that ``n_components`` takes.

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits, make_blobs

from sklearn_rnla import (
    CURSelector,
    MatrixCompleter,
    NystroemKernel,
    NystroemSpectralClustering,
    RandomizedPCA,
)
from sklearn_rnla.plotting import (
    CompletionHistoryDisplay,
    EigengapDisplay,
    ExplainedVarianceDisplay,
    LandmarksDisplay,
    ReconstructionErrorDisplay,
)

digits = load_digits().data
digits = digits[:, digits.std(axis=0) > 0]
pca = RandomizedPCA(30, algorithm="subspace", tol=0.05, random_state=0).fit(digits)
display = ExplainedVarianceDisplay.from_estimator(pca, thresholds=[0.8, 0.95])
figure, axes = plt.subplots(1, 2, figsize=(9, 3.5))
display.plot(axes[0])
display.plot(axes[1], kind="cumulative")
figure.suptitle("Principal components of handwritten digits, at a tolerance of 5 %")
plt.show()

# %%
# Real columns instead of components, and entries that are missing
# ----------------------------------------------------------------
#
# :class:`~sklearn_rnla.plotting.ReconstructionErrorDisplay` puts approximations of one
# matrix side by side. Components are the best directions; columns of the data cost some
# error, and are pixels that can be pointed at. The completer has seen 70 % of the
# entries, and errors are of all of them. A rank of zero is the mean, or the biases, which
# CUR does not have.

rng = np.random.default_rng(0)
holes = np.where(rng.random(digits.shape) < 0.3, np.nan, digits)
completer = MatrixCompleter(12, solver="gibbs", random_state=0).fit(holes)
models = {
    "PCA": RandomizedPCA(20, random_state=0).fit(digits),
    "CUR": CURSelector(20, random_state=0).fit(digits),
    "completion of 70 %": completer,
}
figure, axes = plt.subplots(1, 2, figsize=(9, 3.5))
ReconstructionErrorDisplay.from_estimators(models, digits).plot(axes[0])
CompletionHistoryDisplay.from_estimator(completer).plot(axes[1])
axes[0].set_title("errors by rank")
axes[1].set_title("sweeps of the completer")
plt.show()

# %%
# Landmarks
# ---------
#
# :class:`~sklearn_rnla.plotting.LandmarksDisplay` shows where landmarks lie among the
# samples, and the trace error that the first 1, 2, ... of them leave. The error falls
# fast until each blob has its landmarks.

angles = np.linspace(0, 2 * np.pi, 5, endpoint=False)
centers = 4 * np.column_stack([np.cos(angles), np.sin(angles)])
blobs, _ = make_blobs(1500, centers=centers, cluster_std=0.7, random_state=1)
kernel = NystroemKernel(gamma=0.3, n_components=60, random_state=0).fit(blobs)
display = LandmarksDisplay.from_estimator(kernel, blobs)
figure, axes = plt.subplots(1, 2, figsize=(9, 3.8))
display.plot(axes[0])
display.plot(axes[1], kind="error")
plt.show()

# %%
# The number of clusters
# ----------------------
#
# :class:`~sklearn_rnla.plotting.EigengapDisplay` shows the smallest eigenvalues of the
# Laplacian. As many are small as there are groups, and the shaded gap follows.

clustering = NystroemSpectralClustering(4, gamma=0.3, random_state=0).fit(blobs)
EigengapDisplay.from_estimator(clustering).plot()
plt.show()
