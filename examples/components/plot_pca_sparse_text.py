"""
Sparse text: latent semantic analysis, with and without centring
================================================================

A matrix of word counts is nearly all zeros, and subtracting a mean would fill it. Without
centring, the truncated singular value decomposition (latent semantic analysis) spends its
first direction on the mean. :class:`~sklearn_rnla.RandomizedPCA` centres by algebra on its
products, so both decompositions are had from the sparse matrix as it is.
"""

# %%
# The documents are generated: a vocabulary of 20 000 words whose frequencies follow Zipf's
# law, and six topics, each of which uses 300 words more often than the others do. A
# document mixes a topic with common words.

import matplotlib.pyplot as plt
import numpy as np
import scipy.sparse as sp
from matplotlib.colors import ListedColormap
from sklearn.feature_extraction.text import TfidfTransformer

from sklearn_rnla import RandomizedPCA

n_documents, n_words, n_topics, length = 10_000, 20_000, 6, 120
rng = np.random.default_rng(0)
common = 1 / np.arange(10, n_words + 10)
topics = np.zeros((n_topics, n_words))
for topic in topics:
    topic[rng.choice(np.arange(100, 5000), 300, replace=False)] = rng.exponential(size=300)

label = rng.integers(n_topics, size=n_documents)
share = rng.beta(2, 3, size=n_documents)
words = rng.choice(n_words, p=common / common.sum(), size=(n_documents, length))
for t, topic in enumerate(topics):
    members = np.flatnonzero(label == t)
    special = rng.choice(n_words, p=topic / topic.sum(), size=(len(members), length))
    from_topic = rng.random(special.shape) < share[members, np.newaxis]
    words[members] = np.where(from_topic, special, words[members])

document = np.repeat(np.arange(n_documents), length)
counts = sp.coo_array(
    (np.ones(words.size, np.float32), (document, words.ravel())), (n_documents, n_words)
)
X = TfidfTransformer(sublinear_tf=True).fit_transform(counts.tocsr())

stored = (X.data.nbytes + X.indices.nbytes + X.indptr.nbytes) / 1e6
dense = X.shape[0] * X.shape[1] * X.dtype.itemsize / 1e6
print(f"{X.shape[0]} documents, {X.shape[1]} words, {X.nnz / X.shape[0]:.0f} in a document")
print(f"sparse: {stored:.0f} MB; dense it would be {dense:.0f} MB")

# %%
# Two fits, which differ in one parameter. Singular vectors of the matrix as it is:

lsa = RandomizedPCA(6, with_mean=False, random_state=0)
points_lsa = lsa.fit_transform(X)

# %%
# ... and principal components, of the same matrix less its mean:

pca = RandomizedPCA(6, random_state=0)
points_pca = pca.fit_transform(X)

for name, model in (("LSA", lsa), ("PCA", pca)):
    shares = " ".join(f"{ratio:6.2%}" for ratio in model.explained_variance_ratio_)
    print(
        f"{name}: {model.n_passes_} passes, estimated excess error "
        f"{model.error_estimate_:.0e}, variance explained {shares}"
    )

# %%
# The first direction of LSA is the mean of the documents, nearly: it explains next to none
# of the variance, and topics appear from the second on. PCA spends no direction on it.

mean = np.asarray(X.mean(axis=0)).ravel()
cosine = abs(lsa.components_[0] @ mean) / np.linalg.norm(mean)
print(f"cosine of LSA's first direction with the mean: {cosine:.3f}")

colors = ListedColormap([f"C{i}" for i in range(n_topics)])
fig, axes = plt.subplots(1, 2, figsize=(10, 4.6), layout="constrained")
for ax, points, name in zip(
    axes,
    (points_lsa, points_pca),
    (
        "LSA (with_mean=False): the first direction is the mean",
        "PCA: every direction tells topics apart",
    ),
    strict=True,
):
    dots = ax.scatter(*points[:, :2].T, c=label, cmap=colors, s=3, alpha=0.5)
    ax.axhline(0, color="0.7", lw=0.8, zorder=0)
    ax.axvline(0, color="0.7", lw=0.8, zorder=0)
    ax.set(title=name, xlabel="first direction", ylabel="second direction")
handles, names = dots.legend_elements(alpha=1)
fig.legend(handles, names, title="topic", loc="outside right center")
plt.show()
