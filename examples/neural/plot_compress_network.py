"""
A smaller network without training
==================================

A network trained on digits has many more weights than it uses. Here is how that shows in
its activations, and what is left of its accuracy when
:func:`~sklearn_rnla.neural.compress_mlp` makes it up to twelve times smaller.
"""

# %%
# The network, and the inputs of each of its layers: images, and what its two hidden layers
# make of them.

import warnings
from copy import deepcopy

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import train_test_split
from sklearn.neural_network import MLPClassifier

from sklearn_rnla.neural import compress_mlp, low_rank_factorize

X, y = load_digits(return_X_y=True)
X_train, X_test, y_train, y_test = train_test_split(X / 16, y, random_state=0)
network = MLPClassifier((256, 128), max_iter=40, random_state=0)
with warnings.catch_warnings():
    warnings.simplefilter("ignore", ConvergenceWarning)
    network.fit(X_train, y_train)
print(
    f"accuracy {network.score(X_test, y_test):.3f}, {network.coefs_[0].size} + "
    f"{network.coefs_[1].size} + {network.coefs_[2].size} weights"
)

inputs = [X_train]
for W, b in zip(network.coefs_[:-1], network.intercepts_, strict=False):
    inputs.append(np.maximum(inputs[-1] @ W + b, 0))

# %%
# Left, the singular values of the second matrix: they fall slowly, as those of trained
# weights mostly do. Those of its inputs, about their mean, fall faster, and those of its
# outputs fastest. A matrix that is to be right on these inputs needs no more rank than the
# outputs have. Right, the error of the outputs at each rank, for the product that is best
# for the weights and the one that is best for the outputs.

W, bias, H = network.coefs_[1].T, network.intercepts_[1], inputs[1]
spectra = {
    "weights": W,
    "inputs": H - H.mean(axis=0),
    "outputs": (H - H.mean(axis=0)) @ W.T,
}
colors = {"weights": "C0", "inputs": "0.5", "outputs": "C1"}
fig, axes = plt.subplots(1, 2, figsize=(10, 3.8), layout="constrained")
for name, matrix in spectra.items():
    s = np.linalg.svd(matrix, compute_uv=False)[:100]
    axes[0].semilogy(s / s[0], label=name, color=colors[name])
axes[0].set(
    xlabel="index", ylabel="singular value, relative", title="Spectra of the second layer"
)
axes[0].legend()

ranks = [2, 4, 8, 12, 16, 24, 32, 48, 64, 85]
spread = np.linalg.norm(spectra["outputs"])
for name, seen in (("weights", None), ("outputs", H)):
    lost = []
    for rank in ranks:
        found = low_rank_factorize(W, rank=rank, activations=seen, bias=bias)
        D = H @ (W - found.left @ found.right).T + bias - found.bias
        lost.append(np.linalg.norm(D) / spread)
    axes[1].semilogy(ranks, lost, "o-", label=f"best for {name}", color=colors[name])
axes[1].axvline(found.break_even, color="0.7", ls=":")
axes[1].annotate("break-even ", (found.break_even, 1.0), ha="right", color="0.4")
axes[1].set(
    xlabel="rank", ylabel="error of outputs, relative", title="Error of its outputs by rank"
)
axes[1].legend(loc="lower left")
plt.show()

# %%
# The whole network by one budget: how many ranks or neurons each layer keeps is for
# :func:`~sklearn_rnla.neural.compress_mlp` to say. No labels are used, nothing is trained.
# For comparison, the largest weights of each matrix are kept, the others set to zero; and
# as many random neurons are kept as it keeps chosen ones.


def largest_weights(share):
    """Set all other weights to zero."""
    new = deepcopy(network)
    for W in new.coefs_:
        W[np.abs(W) < np.quantile(np.abs(W), 1 - share)] = 0
    return new


def random_neurons(share):
    """Silence all other neurons."""
    sizes = compress_mlp(network, share, X_train, method="neurons").hidden_layer_sizes
    new = deepcopy(network)
    rng = np.random.default_rng(0)
    for W, n in zip(new.coefs_[1:], sizes, strict=True):
        W[rng.permutation(len(W))[n:]] = 0
    return new


ways = {
    "neurons": lambda share: compress_mlp(network, share, X_train, method="neurons"),
    "low rank, activations": lambda share: compress_mlp(network, share, X_train),
    "low rank, weights alone": lambda share: compress_mlp(network, share),
    "largest weights": largest_weights,
    "random neurons": random_neurons,
}
styles = {
    "neurons": {"color": "C2", "marker": "D"},
    "low rank, activations": {"color": "C1", "marker": "o"},
    "low rank, weights alone": {"color": "C0", "marker": "s"},
    "largest weights": {"color": "0.5", "marker": "x", "ls": "--"},
    "random neurons": {"color": "0.7", "marker": "+", "ls": ":"},
}
compressions = [1.5, 2, 3, 5, 8, 12]
fig, ax = plt.subplots(figsize=(7, 4.2), layout="constrained")
for name, compress in ways.items():
    scores = [compress(1 / c).score(X_test, y_test) for c in compressions]
    ax.plot(compressions, scores, label=name, ms=6, **styles[name])
ax.axhline(network.score(X_test, y_test), color="k", lw=0.8)
ax.annotate("as trained", (12, network.score(X_test, y_test) + 0.01), ha="right")
ax.set(xscale="log", xlabel="times fewer weights", ylabel="accuracy", ylim=(0.25, 1.04))
ax.set_title("A network for digits, compressed and not trained again")
ax.set_xticks(compressions, [str(c) for c in compressions])
ax.minorticks_off()
ax.legend(loc="lower left")
plt.show()

# %%
# What became of each layer is kept with the network. The last matrix, of ten outputs, is
# so small that factors would save little.

for title, column in compress_mlp(network, 1 / 4, X_train).compression_.items():
    print(f"{title:20s}", *(f"{entry!s:10.6}" for entry in column))

# %%
# With ``method="neurons"`` the result is a network of scikit-learn, with fewer neurons in
# its hidden layers, so that it can be trained on.

small = compress_mlp(network, 1 / 12, X_train, method="neurons")
before = small.score(X_test, y_test)
for _ in range(10):
    small.partial_fit(X_train, y_train)
print(f"neurons kept: {small.hidden_layer_sizes} of {network.hidden_layer_sizes}")
print(f"accuracy {before:.3f}, and {small.score(X_test, y_test):.3f} after 10 more epochs")
