"""
Attention on landmarks
======================

Softmax attention of n tokens takes n x n weights. On m landmarks
(:func:`~sklearn_rnla.neural.nystroem_attention`) it takes three small matrices, and time
linear in n. This example shows what becomes of the weights, and for which tokens that
works.
"""

# %%
# Tokens of text, sound and video mostly resemble their neighbours. So do these: queries
# and keys drift along a few directions, with noise.

import matplotlib.pyplot as plt
import numpy as np

from sklearn_rnla.neural import nystroem_attention

n, d = 384, 16
rng = np.random.default_rng(0)


def drifting():
    """Return n tokens that resemble their neighbours."""
    walk = np.cumsum(rng.standard_normal((n, 3)), axis=0) / 8
    directions = rng.standard_normal((3, d))
    return 2 * np.sin(walk) @ directions + 0.5 * rng.standard_normal((n, d))


q, k = drifting(), drifting()
v = rng.standard_normal((n, d))

# %%
# With the identity for values, the output of attention is its matrix of weights. With as
# many landmarks as tokens it is exact.

weights = {
    m: nystroem_attention(q, k, np.eye(n), n_landmarks=m, random_state=0)
    for m in (n, 16, 64)
}
fig, axes = plt.subplots(1, 3, figsize=(9, 3.4), layout="constrained")
for ax, (m, W) in zip(axes, weights.items(), strict=True):
    image = ax.imshow(W, vmin=0, vmax=0.03, cmap="viridis")
    ax.set(title="Exact attention weights" if m == n else f"On {m} landmarks", xlabel="key")
axes[0].set_ylabel("query")
fig.colorbar(image, ax=axes, shrink=0.8, label="weight")
plt.show()

# %%
# Blocks of the matrix, where tokens resemble each other, are kept; single large weights
# between them are not.
#
# ``return_error=True`` estimates the relative error of each head, by exact attention of 64
# tokens. Averages of consecutive tokens, the default, are the cheapest landmarks. Once the
# tokens are shuffled, averages of similar ones, by k-means, are better. Tokens without any
# relation to each other have no good landmarks, however they are chosen.

shuffled = rng.permutation(n)
cases = {
    "drifting, segment means": (q, k, "segment-means"),
    "shuffled, segment means": (q[shuffled], k[shuffled], "segment-means"),
    "shuffled, k-means": (q[shuffled], k[shuffled], "kmeans"),
    "independent, k-means": (*rng.standard_normal((2, n, d)), "kmeans"),
}
counts = [8, 16, 32, 64, 128]
fig, ax = plt.subplots(figsize=(6, 4), layout="constrained")
for (name, (queries, keys, landmarks)), style in zip(
    cases.items(), ("o-", "v-.", "s--", "^:"), strict=True
):
    errors = [
        nystroem_attention(
            queries,
            keys,
            v,
            n_landmarks=m,
            landmarks=landmarks,
            return_error=True,
            random_state=0,
        )[1]
        for m in counts
    ]
    print(f"{name:24s}", " ".join(f"{error:.2f}" for error in errors))
    ax.plot(counts, errors, style, label=name)
ax.set_xscale("log", base=2)
ax.set(
    xlabel="landmarks",
    ylabel="estimated relative error",
    ylim=(0, 1),
    title="nystroem_attention of 384 tokens",
)
ax.set_xticks(counts, [str(m) for m in counts])
ax.legend()
plt.show()
