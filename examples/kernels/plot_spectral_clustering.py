"""
Non-spherical clusters of 100 000 points
========================================

Spectral clustering finds groups of any shape, but scikit-learn's needs the affinities of
all pairs: of 100 000 points 80 gigabytes. :class:`~sklearn_rnla.NystroemSpectralClustering`
needs those with a few hundred landmarks, and labels new points too.
"""

# %%
# Two rings and two moons, with noise: the groups are known, and their centres tell nothing
# of them.

import time

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.colors import ListedColormap
from sklearn.cluster import KMeans
from sklearn.datasets import make_circles, make_moons
from sklearn.metrics import adjusted_rand_score

from sklearn_rnla import NystroemSpectralClustering

n = 100_000
rings, ring = make_circles(n // 2, factor=0.45, noise=0.05, random_state=0)
moons, moon = make_moons(n // 2, noise=0.06, random_state=0)
X = np.concatenate([rings, moons + [2.7, -0.25]]).astype(np.float32)
group = np.concatenate([ring, moon + 2])

# %%
# Each eigenvector is close to constant on each group. gamma decides how far a point sees:
# 30 is a width, ``1 / sqrt(2 gamma)``, of 0.13, less than the groups are apart and more
# than neighbours are.

clustering = NystroemSpectralClustering(4, gamma=30, n_landmarks=300, random_state=0)
start = time.perf_counter()
clustering.fit(X)
print(f"{n} points: {time.perf_counter() - start:.1f} s")
print(f"adjusted Rand index: {adjusted_rand_score(group, clustering.labels_):.4f}")
print(f"error of the affinity: {clustering.error_estimate_:.1e}")
means = KMeans(4, n_init=1, random_state=0).fit(X)
print(f"adjusted Rand index of k-means: {adjusted_rand_score(group, means.labels_):.2f}")

# %%
# ``predict`` takes the eigenvectors to new points. Where it meets the end of what the
# samples say, far from them all, the label is that of the nearest landmark.

colors = ["C0", "C1", "C2", "C4"]
low, high = X.min(axis=0) - 0.4, X.max(axis=0) + 0.4
x, y = np.meshgrid(np.linspace(low[0], high[0], 270), np.linspace(low[1], high[1], 140))
grid = np.column_stack([x.ravel(), y.ravel()]).astype(np.float32)
shown = np.random.default_rng(0).choice(n, 4000, replace=False)

fig, axes = plt.subplots(2, 1, figsize=(8, 7.2), layout="constrained")
for ax, model, title in (
    (axes[0], means, "KMeans: regions of nearest centres"),
    (axes[1], clustering, "NystroemSpectralClustering: groups of any shape"),
):
    regions = model.predict(grid).reshape(x.shape)
    extent = (low[0], high[0], low[1], high[1])
    ax.imshow(
        regions, extent=extent, origin="lower", cmap=ListedColormap(colors), alpha=0.25
    )
    for label, color in enumerate(colors):
        members = shown[model.labels_[shown] == label]
        ax.plot(*X[members].T, ".", ms=2, color=color)
    ax.set(title=title, xticks=[], yticks=[], aspect="equal")
axes[1].plot(
    *clustering.components_.T, "o", ms=3.5, mfc="none", mec="k", mew=0.6, label="landmarks"
)
axes[1].legend(loc="upper right")
plt.show()

# %%
# How many groups there are, the eigenvalues tell where there is a gap: of four groups that
# share no affinity four are 1. ``n_clusters_hint_`` looks for it.

laplacian = np.maximum(1 - clustering.eigenvalues_[:12], 1e-7)
fig, ax = plt.subplots(figsize=(7, 3.6), layout="constrained")
ax.semilogy(np.arange(1, 13), laplacian, "o", color=colors[0])
ax.axvline(clustering.n_clusters_hint_ + 0.5, color=colors[1], ls="--")
ax.annotate(
    f" n_clusters_hint_ = {clustering.n_clusters_hint_}",
    (clustering.n_clusters_hint_ + 0.5, 0.1),
    xycoords=("data", "axes fraction"),
    color=colors[1],
)
ax.set(
    xlabel="number of the eigenvalue",
    ylabel="1 - eigenvalue",
    xticks=range(1, 13),
    title="Two rings and two moons: the gap after the fourth eigenvalue",
)
plt.show()
