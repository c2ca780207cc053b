"""
Random projection: how many components keep the distances
=========================================================

A random projection replaces many features by a few hundred random combinations of them, and
keeps the distances between samples. :class:`~sklearn_rnla.SketchProjection` does so without
looking at the data. This example shows how well distances survive, and what becomes of a
classifier that sees the projection only.
"""

# %%
# Documents of 50 words out of 20 000. Two thirds of the words are common to all documents,
# the others are from the 500 words of one of five topics.

import warnings

import matplotlib.pyplot as plt
import numpy as np
import scipy.sparse as sp
from sklearn.metrics import euclidean_distances
from sklearn.neighbors import NearestCentroid
from sklearn.random_projection import SparseRandomProjection

from sklearn_rnla import SketchProjection

n_documents, n_words, length = 1500, 20_000, 50
rng = np.random.default_rng(0)
topic = rng.integers(5, size=n_documents)
own = rng.random((n_documents, length)) < 1 / 3
words = np.where(
    own,
    4000 * topic[:, np.newaxis] + rng.integers(500, size=(n_documents, length)),
    rng.integers(n_words, size=(n_documents, length)),
)
X = sp.csr_array(
    (
        np.ones(words.size),
        (np.repeat(np.arange(n_documents), length), words.ravel()),
    ),
    shape=(n_documents, n_words),
)
X.sum_duplicates()

# %%
# The distances of 300 documents before and after. With 400 components in the place of
# 20 000 words, 95 % of the distances change by less than 7 %.

projection = SketchProjection(400, random_state=0).fit(X)
before = euclidean_distances(X[:300])[np.triu_indices(300, 1)]
after = euclidean_distances(projection.transform(X[:300]))[np.triu_indices(300, 1)]
change = after / before - 1
print(f"95 % of the distances change by less than {np.quantile(np.abs(change), 0.95):.1%}")

# %%
# How the spread falls with the number of components: the standard deviation of
# ``||S x||^2 / ||x||^2`` over all documents and five seeds. For a dense Gaussian projection
# it is ``sqrt(2 / k)``. The default of ``SketchProjection`` has exactly two signs for each
# word, and is as good at a small part of the work.
# `SparseRandomProjection` draws each entry by itself: some words get many signs and some
# none, and it takes three times the components for the same spread.

sizes = [50, 100, 200, 400, 800]
methods = {
    "SparseRandomProjection": lambda k, seed: SparseRandomProjection(k, random_state=seed),
    'SketchProjection, sketch="gaussian"': lambda k, seed: SketchProjection(
        k, sketch="gaussian", random_state=seed
    ),
    "SketchProjection": lambda k, seed: SketchProjection(k, random_state=seed),
}
colors = dict(zip(methods, ("C3", "0.5", "C0"), strict=True))
squares = X.multiply(X).sum(axis=1)


def spread(make, k):
    """Return the standard deviation of the relative squared lengths."""
    ratios = []
    for seed in range(5):
        Z = sp.csr_array(make(k, seed).fit_transform(X))
        ratios.append(Z.multiply(Z).sum(axis=1) / squares)
    return np.std(ratios)


fig, (left, right) = plt.subplots(1, 2, figsize=(10, 4), layout="constrained")
left.hist(change, bins=40, color="C0")
left.set(
    xlabel="relative change of a distance",
    ylabel="pairs of documents",
    title="Distances after SketchProjection(400)",
)
for name, make in methods.items():
    found = [spread(make, k) for k in sizes]
    right.loglog(sizes, found, "o-", ms=5, color=colors[name], label=name)
right.loglog(sizes, np.sqrt(2 / np.array(sizes)), "k:", label=r"$\sqrt{2/k}$")
right.set(
    xlabel="components k",
    ylabel="spread of squared lengths",
    title="How well lengths survive",
)
right.set_xticks(sizes, labels=sizes)
right.set_yticks([0.05, 0.1, 0.2, 0.4], labels=["0.05", "0.1", "0.2", "0.4"])
right.minorticks_off()
right.legend(loc="lower left")
plt.show()

# %%
# A classifier on the projected documents, which takes the topic whose mean is nearest.
# These topics differ in few words, so that each doubling of the components helps: 1600 of
# them find the topic of 19 documents in 20, where all 20 000 words always do.

train, test = slice(0, 1000), slice(1000, None)
# Most words do not occur in some topic, of which the classifier warns.
warnings.simplefilter("ignore", UserWarning)

full = NearestCentroid().fit(X[train], topic[train]).score(X[test], topic[test])
scores = []
for k in (*sizes, 1600):
    Z = SketchProjection(k, random_state=0, dense_output=True).fit_transform(X)
    scores.append(NearestCentroid().fit(Z[train], topic[train]).score(Z[test], topic[test]))

fig, ax = plt.subplots(figsize=(6, 3.6), layout="constrained")
ax.semilogx((*sizes, 1600), scores, "o-", color="C0", label="on the projection")
ax.axhline(full, color="0.5", ls="--", label="on all 20 000 words")
ax.axhline(0.2, color="0.5", ls=":", label="chance")
ax.set_xticks((*sizes, 1600), labels=(*sizes, 1600))
ax.minorticks_off()
ax.set(
    xlabel="components",
    ylabel="accuracy on test documents",
    ylim=(0, 1.02),
    title="Topics told apart after a random projection",
)
ax.legend(loc="center right")
plt.show()
