"""
Adapters: what low-rank training starts from
============================================

A network that knows one task is adapted to another by training low-rank adapters of its
layers, all else frozen. :func:`~sklearn_rnla.neural.lora_init` says which part of the
weights an adapter starts from. This example compares the starts on a small torch network.
"""

# %%
# The network learns to read handwritten digits. Then the images are turned by a quarter,
# and shifted: nothing that it knows about pixels is right any more.

import sys

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

try:
    import torch
except ImportError:
    print("This example needs torch: pip install torch")
    sys.exit()

from sklearn_rnla.neural.torch import apply_lora, merge_lora

torch.set_num_threads(1)
images, y = load_digits(return_X_y=True)
images = images.reshape(-1, 8, 8).astype(np.float32) / 16
turned = np.roll(np.rot90(images, axes=(1, 2)), 1, axis=2)
train, test = train_test_split(np.arange(len(y)), stratify=y, random_state=0)


def rows(images):
    """Return images as rows of a tensor."""
    return torch.tensor(images.reshape(len(images), -1).copy())


task_a, task_b, labels = rows(images), rows(turned), torch.tensor(y)


def fit(network, X, n_steps, lr):
    """Train by Adam; return the loss before each step."""
    trained = [p for p in network.parameters() if p.requires_grad]
    optimizer = torch.optim.Adam(trained, lr=lr)
    losses = []
    for _ in range(n_steps):
        loss = torch.nn.functional.cross_entropy(network(X[train]), labels[train])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses


def accuracy(network, X):
    """Return the share of test images that are read right."""
    with torch.no_grad():
        right = network(X[test]).argmax(dim=1) == labels[test]
    return right.float().mean().item()


def new_network():
    """Return the untrained network."""
    torch.manual_seed(0)
    return torch.nn.Sequential(
        torch.nn.Linear(64, 128),
        torch.nn.ReLU(),
        torch.nn.Linear(128, 64),
        torch.nn.ReLU(),
        torch.nn.Linear(64, 10),
    )


network = new_network()
fit(network, task_a, n_steps=100, lr=0.01)
print(f"upright digits: {accuracy(network, task_a):.3f} right")
print(f"turned digits:  {accuracy(network, task_b):.3f} right")

# %%
# Each of the three layers gets an adapter of rank 4. "principal" starts from the leading
# singular directions of the weights, "residual" from the last ones, "activation" from
# those that the outputs for the new images need most, and "random" is the usual LoRA,
# whose product is zero at first. Outputs are the same before the first step, and so is the
# number of parameters trained.


def inputs_of(network, X):
    """Return what each layer is given, by its name."""
    inputs = {}
    with torch.no_grad():
        for name, layer in network.named_children():
            inputs[name], X = X, layer(X)
    return inputs


def adapted(method, n_steps=100):
    """Return the losses of an adapted copy of the network, and the copy."""
    copy = new_network()
    copy.load_state_dict(network.state_dict())
    activations = inputs_of(copy, task_b[train]) if method == "activation" else None
    copy.requires_grad_(False)
    apply_lora(copy, "*", rank=4, method=method, activations=activations, random_state=0)
    return fit(copy, task_b, n_steps, lr=0.01), copy


styles = {
    "principal": {"color": "C0"},
    "activation": {"color": "C2", "ls": "--"},
    "residual": {"color": "C3", "ls": "-."},
    "random": {"color": "k", "ls": ":"},
}
fig, ax = plt.subplots(figsize=(7, 4.2), layout="constrained")
for method, style in styles.items():
    losses, copy = adapted(method)
    merge_lora(copy)
    print(f"{method:10s} {accuracy(copy, task_b):.3f} of the turned digits right")
    ax.semilogy(losses, label=method, lw=2, **style)
ax.set(
    xlabel="training step",
    ylabel="loss on turned digits",
    title="Adapters of rank 4 in training",
)
ax.legend(title="start")
plt.show()

# %%
# The usual start has to find its directions first: while B is near zero, A gets hardly any
# gradient. With the leading directions of the weights, both factors are large, and learn
# at once; with the last ones they are small, and the loss falls hardly faster than from
# the random start. That is their purpose: they disturb what the network knows least.

# sphinx_gallery_thumbnail_path = "_static/lora_start.png"
