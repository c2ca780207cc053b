"""
Representations of a network while it learns
============================================

What a hidden layer makes of the data is a matrix of activations, a row for each sample.
Its spectrum says how many directions the layer uses, and centred kernel alignment (CKA)
how much it resembles another layer, or itself at another time. Here both are followed
through the training of a small network on handwritten digits.
"""

# %%
# Train, and keep the activations of three hidden layers after some of the epochs. They are
# computed by hand: a product, a bias, and the largest of it and zero. In a torch model
# ``sklearn_rnla.neural.torch.ActivationRecorder`` does it by hooks.

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from sklearn.neural_network import MLPClassifier

from sklearn_rnla import RandomizedPCA
from sklearn_rnla.neural import linear_cka, representation_spectrum, subspace_overlap
from sklearn_rnla.plotting import SimilarityDisplay, SpectrumDisplay

X, y = load_digits(return_X_y=True)
X_train, X_test, y_train, y_test = train_test_split(X / 16, y, random_state=0)


def hidden_layers(model, X):
    """Return the activations of the hidden layers, by name."""
    layers = {}
    for i, (W, b) in enumerate(zip(model.coefs_[:-1], model.intercepts_[:-1], strict=True)):
        X = np.maximum(X @ W + b, 0)
        layers[f"layer {i + 1}"] = X
    return layers


def trained(seed, epochs):
    """Return a network, activations at some epochs, and accuracies at those."""
    model = MLPClassifier((100, 100, 100), learning_rate_init=2e-3, random_state=seed)
    kept, accuracies = {}, {}
    for epoch in range(1, max(epochs) + 1):
        model.partial_fit(X_train, y_train, classes=np.arange(10))
        if epoch in epochs:
            kept[epoch] = hidden_layers(model, X_test)
            accuracies[epoch] = model.score(X_test, y_test)
    return model, kept, accuracies


epochs = (1, 3, 10, 30)
model, kept, accuracies = trained(0, epochs)

# %%
# Spectra
# -------
# A layer of 100 neurons does not use 100 directions, and training leaves it fewer. In the
# last layer the variance falls off behind the ninth direction, drawn as a dotted line: the
# means of ten classes, about their common mean, span nine.

names = list(kept[epochs[0]])
print("epoch  accuracy  " + "  ".join(f"{name:>18}" for name in names))
for epoch in epochs:
    spectra = [representation_spectrum(kept[epoch][name]) for name in names]
    cells = (
        f"{s.effective_rank:6.1f} {s.participation_ratio:5.1f} {s.n_directions[0]:5d}"
        for s in spectra
    )
    print(f"{epoch:5d}  {accuracies[epoch]:8.3f}  " + "  ".join(cells))
print("columns: effective rank, participation ratio, directions for 90 % of the variance")

fig, axes = plt.subplots(1, 2, figsize=(10, 4), layout="constrained", sharey=True)
shades = plt.get_cmap("viridis")(np.linspace(0, 0.9, len(epochs)))
for ax, name in zip(axes, (names[0], names[-1]), strict=True):
    for shade, epoch in zip(shades, epochs, strict=True):
        spectrum = {f"epoch {epoch}": representation_spectrum(kept[epoch][name])}
        SpectrumDisplay.from_spectra(spectrum).plot(ax, color=shade)
    ax.axvline(9, color="0.6", lw=1, ls=":")
    ax.set(title=f"Spectrum of {name}", ylim=(1e-5, 1))
axes[0].legend()
axes[1].set_ylabel("")
plt.show()

# %%
# Similarity
# ----------
# The first layer is much the same from the third epoch on, the last one changes longest.
# Between networks from different starts, layers correspond by depth: CKA does not ask
# which neuron does what.

_, other, _ = trained(1, epochs[-1:])
# All similarities here are above a half: colours for what is below would be wasted.
scale = {"vmin": 0.5}
fig, axes = plt.subplots(1, 3, figsize=(12, 3.8), layout="constrained")
for ax, name in zip(axes, (names[0], names[-1]), strict=False):
    layers = {epoch: kept[epoch][name] for epoch in epochs}
    SimilarityDisplay.from_representations(layers, linear_cka).plot(
        ax, colorbar=False, im_kw=scale
    )
    ax.set(title=f"CKA of {name} with itself", xlabel="epoch", ylabel="epoch")
SimilarityDisplay.from_representations(
    kept[epochs[-1]], linear_cka, columns=other[epochs[-1]], name="CKA"
).plot(axes[2], im_kw=scale)
axes[2].set(title="CKA of two networks", xlabel="second network", ylabel="first network")
plt.show()

# %%
# Principal directions of two epochs of one network can be compared as they are: the neurons
# are the same. The overlap is the mean squared cosine between two subspaces, of nine
# directions here; chance would be 9 / 100.

bases = {
    epoch: RandomizedPCA(9, random_state=0).fit(kept[epoch][names[-1]]).components_
    for epoch in epochs
}
for epoch in epochs[:-1]:
    overlap = subspace_overlap(bases[epoch], bases[epochs[-1]])
    print(f"epochs {epoch} and {epochs[-1]}: {overlap:.2f}")
