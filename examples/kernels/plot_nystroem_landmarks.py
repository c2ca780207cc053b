"""
Landmarks: where the choice matters
===================================

:class:`~sklearn_rnla.NystroemKernel` approximates a kernel on a few of the samples, the
landmarks. This example compares the ways to choose them, and the uniformly drawn ones of
scikit-learn, on data that lie evenly and on data that do not.
"""

# %%
# The even data are handwritten digits: no region of their space holds many more samples
# than another. The uneven data are points in the plane, 1000 of them in five narrow
# clusters and 200 anywhere.

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits
from sklearn.kernel_approximation import Nystroem
from sklearn.linear_model import LogisticRegression
from sklearn.metrics.pairwise import rbf_kernel
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.svm import SVC

from sklearn_rnla import NystroemKernel, NystroemRidgeClassifier

X, y = load_digits(return_X_y=True)
digits, digits_test, label, label_test = train_test_split(
    X / 16, y, train_size=1200, stratify=y, random_state=0
)

rng = np.random.default_rng(0)
places = rng.uniform(-0.9, 0.9, size=(5, 2))
clusters = places[rng.integers(5, size=1000)] + 0.03 * rng.standard_normal((1000, 2))
points = np.concatenate([clusters, rng.uniform(-1, 1, size=(200, 2))])

# %%
# The *relative trace error* is the share of the kernel matrix K that the features F miss,
# ``1 - trace(F F^T) / trace(K)``. ``error_estimate_`` states it; here it is computed, for
# all alike, knowing that the diagonal of K is one. No k features can miss less than the
# share of the eigenvalues of K beyond the k-th. Below 1e-12 there is rounding only.

sizes = [20, 40, 80, 160, 320]
seeds = range(3)
styles = {
    "uniform": {"color": "C3", "marker": "s"},
    "leverage": {"color": "C5", "marker": "v"},
    "greedy": {"color": "C4", "marker": "^"},
    "kmeans": {"color": "C2", "marker": "D"},
    "rpcholesky": {"color": "C0", "marker": "o"},
}


def without_rounding(errors):
    """Return the errors, NaN in the place of those that are nothing but rounding."""
    return np.where(errors > 1e-12, errors, np.nan)


def mean_errors(kind, X, **parameters):
    """Return the relative trace error for each number of landmarks."""
    errors = np.empty((len(sizes), len(seeds)))
    for i, k in enumerate(sizes):
        for seed in seeds:
            F = kind(n_components=k, random_state=seed, **parameters).fit_transform(X)
            errors[i, seed] = 1 - np.sum(F**2) / len(F)
    return without_rounding(errors.mean(axis=1))


fig, axes = plt.subplots(1, 2, figsize=(10, 4.2), layout="constrained")
for ax, X, gamma, name in (
    (axes[0], digits, 0.02, "Kernel of the digits (even)"),
    (axes[1], points, 5.0, "Kernel of points in the plane (uneven)"),
):
    for landmarks, style in styles.items():
        errors = mean_errors(NystroemKernel, X, gamma=gamma, landmarks=landmarks)
        ax.loglog(sizes, errors, ms=5, label=landmarks, **style)
    errors = mean_errors(Nystroem, X, gamma=gamma)
    ax.loglog(sizes, errors, "kx", ms=8, label="Nystroem of\nscikit-learn")
    eigenvalues = np.linalg.eigvalsh(rbf_kernel(X, gamma=gamma))[::-1]
    best = np.array([eigenvalues[k:].sum() / eigenvalues.sum() for k in sizes])
    ax.loglog(sizes, without_rounding(best), color="0.5", ls=":", label="least possible")
    ax.set(title=name, xlabel="landmarks")
    ax.set_xticks(sizes, labels=sizes)
    ax.minorticks_off()
axes[0].set(ylabel="relative trace error, mean of 3 seeds", ylim=(3e-4, 0.15))
axes[1].set_ylim(1e-12, 1)
fig.legend(*axes[0].get_legend_handles_labels(), loc="outside right center")
plt.show()

# %%
# Of even data, one sample is about as good as another. The centres of k-means are no
# samples, and better, at the price of a k-means.
#
# Of uneven data, a uniform sample is a poor one. Most of its landmarks crowd where most of
# the points are, and there a few would do. Pivoted Cholesky draws the next landmark where
# the ones before leave an error.

fig, axes = plt.subplots(1, 3, figsize=(10, 3.7), layout="constrained")
for ax, landmarks in zip(axes, ("uniform", "kmeans", "rpcholesky"), strict=True):
    kernel = NystroemKernel(
        gamma=5.0, n_components=60, landmarks=landmarks, random_state=0
    ).fit(points)
    ax.plot(*points.T, ".", color="0.75", ms=3)
    style = styles[landmarks] | {"markeredgecolor": "k", "markeredgewidth": 0.5}
    ax.plot(*kernel.components_.T, ls="", ms=6, **style)
    ax.set(
        title=f"60 landmarks, {landmarks}: error {kernel.error_estimate_:.1e}",
        xticks=[],
        yticks=[],
        aspect="equal",
    )
plt.show()

# %%
# What classifiers make of it, on digits that they have not seen. The features go into a
# logistic regression, which gives probabilities.
# :class:`~sklearn_rnla.NystroemRidgeClassifier` solves a least squares problem with such
# features, and chooses its penalty by leave-one-out errors.

gamma = 0.05
alphas = np.logspace(-5, 0, 11)
kinds = {
    "NystroemRidgeClassifier": (
        lambda k, seed: NystroemRidgeClassifier(
            alphas=alphas, gamma=gamma, n_landmarks=k, random_state=seed
        ),
        {"color": "C1", "marker": "P"},
    ),
    "NystroemKernel, LogisticRegression": (
        lambda k, seed: make_pipeline(
            NystroemKernel(gamma=gamma, n_components=k, random_state=seed),
            LogisticRegression(C=100, max_iter=200),
        ),
        styles["rpcholesky"],
    ),
    "Nystroem of scikit-learn, LogisticRegression": (
        lambda k, seed: make_pipeline(
            Nystroem(gamma=gamma, n_components=k, random_state=seed),
            LogisticRegression(C=100, max_iter=200),
        ),
        {"color": "k", "marker": "x", "ls": "--"},
    ),
}
fig, ax = plt.subplots(figsize=(7, 4.2), layout="constrained")
for name, (make, style) in kinds.items():
    scores = [
        [make(k, seed).fit(digits, label).score(digits_test, label_test) for seed in seeds]
        for k in sizes
    ]
    ax.semilogx(sizes, 1 - np.mean(scores, axis=1), label=name, ms=6, **style)
exact = SVC(C=10, gamma=gamma).fit(digits, label).score(digits_test, label_test)
ax.axhline(1 - exact, color="0.5", ls=":", label="SVC, no approximation")
ax.set(
    xlabel="landmarks",
    ylabel="share of errors on test digits",
    ylim=(0, None),
    title="Digits classified by kernel features",
)
ax.set_xticks(sizes, labels=sizes)
ax.minorticks_off()
ax.legend()
plt.show()

# %%
# On data as even as these it matters how many landmarks there are, and hardly which. The
# logistic regression makes more of few landmarks; with many, least squares comes near the
# support vector machine, which evaluates the kernel of all samples.
