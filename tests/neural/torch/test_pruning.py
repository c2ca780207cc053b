"""Torch networks with fewer neurons and channels."""

from itertools import pairwise

import numpy as np
import pytest

from sklearn_rnla import select_neurons

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402

from sklearn_rnla.neural.torch import prune_neurons  # noqa: E402


def close(actual, desired, rtol=1e-4):
    return torch.linalg.norm(actual - desired) <= rtol * torch.linalg.norm(desired)


@torch.no_grad()
def copied(layer):
    """Give the second half of the neurons what the first has."""
    half = len(layer.weight) // 2
    for part in (layer.weight, layer.bias):
        part[half:] = part[:half]
    return layer


def convolutional():
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1),
        nn.BatchNorm2d(8),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(8, 10, 3),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(90, 16),
        nn.BatchNorm1d(16),
        nn.Tanh(),
        nn.Linear(16, 5),
    )
    x = torch.randn(80, 3, 10, 10)
    model(x)
    return model.eval(), x


@torch.no_grad()
def test_all_neurons_are_exact():
    model, x = convolutional()
    found = prune_neurons(model, x, 1.0)
    assert close(found.model(x), model(x))
    assert found.table["reader"] == ["4", "7", "10"]
    assert all(error < 1e-6 for error in found.table["output_error"])


@torch.no_grad()
def test_copied_channels_are_pruned_without_error():
    model, x = convolutional()
    for first, norm in ((0, 1), (4, None), (7, 8)):
        half = len(model[first].weight) // 2
        parts = [model[first].weight, model[first].bias]
        if norm is not None:
            parts += [model[norm].running_mean, model[norm].running_var]
        for part in parts:
            part[half:] = part[:half]
    found = prune_neurons(model, x, 0.5, ridge=0.0)
    assert found.table["n_neurons"] == [4, 5, 8]
    assert close(found.model(x), model(x))
    small, batch_norms = found.model, (found.model[1], found.model[8])
    assert (small[0].out_channels, small[4].in_channels, small[4].out_channels) == (4, 4, 5)
    assert (small[7].in_features, small[7].out_features) == (45, 8)
    assert [norm.num_features for norm in batch_norms] == [4, 8]
    small.train()(x).sum()


@torch.no_grad()
def test_errors_fall_with_the_neurons_and_the_model_stays():
    model, x = convolutional()
    before = model(x)
    lost = [
        torch.linalg.norm(prune_neurons(model, x, n).model(x) - before).item()
        for n in (0.3, 0.6, 0.9)
    ]
    assert lost == sorted(lost)[::-1]
    assert torch.equal(model(x), before)


@torch.no_grad()
def test_pairs_of_any_model_are_what_the_function_says():
    torch.manual_seed(0)
    model = nn.TransformerEncoderLayer(16, 2, 32, batch_first=True).eval()
    x = torch.randn(10, 7, 16)
    found = prune_neurons(model, x, 12, pairs=[("linear1", "linear2")])
    assert found.model.linear1.weight.shape == (12, 16)
    assert found.model(x).shape == x.shape
    hidden = []
    hook = model.linear2.register_forward_pre_hook(lambda _, args: hidden.append(args[0]))
    model(x)
    hook.remove()
    kept = select_neurons(
        model.linear1.weight,
        model.linear2.weight,
        hidden[0],
        12,
        bias_in=model.linear1.bias,
        bias_out=model.linear2.bias,
    )
    np.testing.assert_array_equal(found.indices["linear1"], kept.indices)
    assert close(found.model.linear2.weight, kept.W_out)
    assert close(found.model.linear2.bias, kept.bias_out)


@pytest.mark.parametrize(
    ("pairs", "n", "error", "message"),
    [
        ([("0",)], 2, ValueError, "at least two names"),
        ([("0", "nothing")], 2, ValueError, "pairs has 'nothing'"),
        ([("0", "2", "4")], 2, TypeError, "'2' is a ReLU, but BatchNorm1d or BatchNorm2d"),
        ([("0", "3")], 2, TypeError, "'3' is a MaxPool2d, but Linear or Conv2d"),
        ([("4", "10")], 2, ValueError, "'10' reads 16 neurons, but '4' makes 10"),
        (None, 9, ValueError, "n=9 must be at most n_neurons=8"),
    ],
)
def test_bad_pairs_are_named(pairs, n, error, message):
    model, x = convolutional()
    with pytest.raises(error, match=message):
        prune_neurons(model, x, n, pairs=pairs)


def test_a_model_without_pairs_is_refused():
    with pytest.raises(ValueError, match="pass pairs"):
        prune_neurons(nn.Sequential(nn.Linear(3, 3)), torch.ones(2, 3), 1)


@torch.no_grad()
@pytest.mark.parametrize("reader", [nn.Linear(8, 4), nn.Linear(40, 4)])
def test_tokens_are_pruned_without_error_where_neurons_are_copied(reader):
    """Flattened or not: neurons are the last dimension."""
    parts = copied(nn.Linear(6, 8)), nn.ReLU(), reader
    if reader.in_features == 40:
        parts = *parts[:2], nn.Flatten(), reader
    model, x = nn.Sequential(*parts), torch.randn(300, 5, 6)
    pairs = [("0", str(len(parts) - 1))]
    found = prune_neurons(model, x, 4, ridge=0.0, pairs=pairs)
    assert found.model[-1].in_features == reader.in_features // 2
    assert close(found.model(x), model(x))


def images(*between, reads):
    return nn.Sequential(nn.Conv2d(3, 8, 1), *between, nn.Linear(reads, 5))


NOT_PAIRS = {
    "pooling over neurons": (
        nn.Sequential(nn.Linear(6, 8), nn.AvgPool2d(3, 1, 1), nn.Linear(8, 5)),
        (50, 4, 6),
    ),
    "tokens flattened": (
        nn.Sequential(nn.Linear(6, 8), nn.Flatten(), nn.Linear(32, 5)),
        (50, 4, 6),
    ),
    "tokens normalised": (
        nn.Sequential(nn.Linear(6, 8), nn.BatchNorm1d(8), nn.Linear(8, 5)),
        (50, 8, 6),
    ),
    "neurons pooled": (
        nn.Sequential(nn.Linear(6, 8), nn.MaxPool2d(2), nn.Linear(4, 5)),
        (50, 4, 6),
    ),
    "pixels flattened": (images(nn.Flatten(2), reads=16), (50, 3, 4, 4)),
    "rows of images": (images(nn.ReLU(), reads=8), (50, 3, 4, 8)),
    "one image": (images(nn.Flatten(), reads=16), (3, 4, 4)),
    "softmax": (nn.Sequential(nn.Linear(6, 8), nn.Softmax(-1), nn.Linear(8, 5)), (50, 6)),
}


@pytest.mark.parametrize("name", NOT_PAIRS)
def test_what_may_mix_neurons_is_not_found(name):
    model, shape = NOT_PAIRS[name]
    x = torch.randn(shape)
    # It runs.
    model.eval()(x)
    with pytest.raises(ValueError, match="no two layers that follow one another"):
        prune_neurons(model, x, 1)


class Residual(nn.Module):
    """Uses the parts of a sequence by themselves."""

    def __init__(self):
        super().__init__()
        self.block = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 8))

    def forward(self, x):
        hidden = self.block[1](self.block[0](x))
        return self.block[2](hidden) + hidden.sum(-1, keepdim=True)


class Also(Residual):
    """Calls the sequence, and a part of it once more."""

    def forward(self, x):
        return self.block(x) + self.block[0](x).sum(-1, keepdim=True)


class Subclass(nn.Sequential):
    def forward(self, x):
        hidden = self[1](self[0](x))
        return self[2](hidden) + hidden.mean(-1, keepdim=True)


def used_twice():
    shared = nn.Linear(8, 8)
    return nn.Sequential(shared, nn.ReLU(), nn.Linear(8, 8), nn.ReLU(), shared)


def shared_between():
    shared = nn.Softmax(-1)
    layers = nn.Linear(8, 16), nn.Linear(16, 16), nn.Linear(16, 4)
    return nn.Sequential(layers[0], shared, layers[1], shared, layers[2])


def shared_reader():
    reader = nn.Linear(16, 8)
    blocks = (nn.Sequential(nn.Linear(8, 16), nn.ReLU(), reader) for _ in range(2))
    return nn.Sequential(*blocks)


@pytest.mark.parametrize(
    "build",
    [
        Residual,
        Also,
        lambda: Subclass(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 8)),
        used_twice,
        shared_between,
        shared_reader,
    ],
)
def test_layers_that_are_used_elsewhere_are_not_found(build):
    with pytest.raises(ValueError, match="no two layers that follow one another"):
        prune_neurons(build(), torch.randn(20, 8), 1)


@torch.no_grad()
def test_a_sequence_that_is_used_twice_is_pruned():
    torch.manual_seed(0)
    block = nn.Sequential(copied(nn.Linear(8, 16)), nn.ReLU(), nn.Linear(16, 8))
    model, x = nn.Sequential(block, block), torch.randn(200, 8)
    found = prune_neurons(model, x, 8, ridge=0.0)
    assert found.table["layer"] == ["0.0"]
    assert found.model[0] is found.model[1]
    assert close(found.model(x), model(x))


@pytest.mark.parametrize(
    ("pairs", "message"),
    [
        ([("0", "2")], "'0' is used in more than one place"),
        ([("2", "2")], "'2' is used in more than one place"),
        ([("5", "7"), ("5", "7")], "pairs has 2 entries in which '5' makes neurons"),
        ([("5", "7"), ("2", "7")], "pairs has 2 entries in which '7' reads neurons"),
        ([("5", "6", "7")], "'6' normalises 9 neurons, but '5' makes 8"),
    ],
)
def test_pairs_of_what_is_used_elsewhere_are_refused(pairs, message):
    layers = nn.Linear(8, 8), nn.BatchNorm1d(9), nn.Linear(8, 8)
    model = nn.Sequential(*used_twice(), *layers)
    with pytest.raises(ValueError, match=message):
        prune_neurons(model, torch.randn(20, 8), 1, pairs=pairs)


def test_nothing_is_changed_where_one_pair_cannot_be():
    sizes = (8, 30, 8, 2)
    layers = [part for m, n in pairwise(sizes) for part in (nn.Linear(m, n), nn.ReLU())]
    model = nn.Sequential(*layers)
    with pytest.raises(ValueError, match="n=20 must be at most n_neurons=8"):
        prune_neurons(model, torch.randn(50, 8), 20, inplace=True)
    assert model[0].weight.shape == (30, 8)


@pytest.mark.parametrize("name", ["0", "2"])
def test_a_weight_made_by_a_hook_is_refused(name):
    model = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 4))
    torch.nn.utils.spectral_norm(model.get_submodule(name))
    with pytest.raises(TypeError, match=f"'{name}' computes its weight from other"):
        prune_neurons(model, torch.randn(50, 8), 5, pairs=[("0", "2")])
    with pytest.raises(ValueError, match="no two layers"):
        prune_neurons(model, torch.randn(50, 8), 5)


def test_padded_tokens_are_seen_as_any():
    block = nn.TransformerEncoderLayer(16, 2, 64, batch_first=True)
    model = nn.TransformerEncoder(block, 1)
    x, mask = torch.randn(30, 7, 16), torch.zeros(30, 7, dtype=torch.bool)
    mask[:, 5:] = True
    inputs = [{"src": x, "src_key_padding_mask": mask}]
    pairs = [("layers.0.linear1", "layers.0.linear2")]
    assert prune_neurons(model, inputs, 9, pairs=pairs).table["n_neurons"] == [9]


@pytest.mark.parametrize("inputs", [None, np.ones((3, 8))])
def test_inputs_that_are_no_tensors_are_named(inputs):
    model = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 4))
    with pytest.raises(TypeError, match="inputs must be a tensor or batches"):
        prune_neurons(model, inputs, 3)


def test_pairs_without_the_normalisation_between_them_are_refused():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 2))
    x = torch.randn(20, 4)
    with pytest.raises(ValueError, match="Name normalisations between two"):
        prune_neurons(model, x, 4, pairs=[("0", "3")])
    small = prune_neurons(model, x, 4, pairs=[("0", "1", "3")]).model
    assert small.eval()(x).shape == (20, 2)
    assert model[1].num_features == 8


def test_one_sample_tells_nothing():
    model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2))
    with pytest.raises(ValueError, match="activations are one sample"):
        prune_neurons(model, torch.ones(1, 4), 4)


@pytest.mark.parametrize("kind", ["forward", "forward_pre", "full_backward"])
@pytest.mark.parametrize("place", [0, 1, 2])
def test_neurons_that_a_hook_may_read_are_not_found(kind, place):
    torch.manual_seed(0)
    layers = nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 12), nn.ReLU(), nn.Linear(12, 4)
    model = nn.Sequential(*layers)
    handle = getattr(model[place], f"register_{kind}_hook")(lambda *seen: None)
    x = torch.randn(30, 8)
    if place == 2:
        with pytest.raises(ValueError, match="no two layers that follow one another"):
            prune_neurons(model, x, 3)
    else:
        assert prune_neurons(model, x, 3).table["layer"] == ["2"]
    handle.remove()
    assert prune_neurons(model, x, 3).table["layer"] == ["0", "2"]


class Probe(nn.Module):
    """Reads the weight of a layer that makes neurons."""

    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 4))
        self.probe = nn.Linear(16, 4)

    def forward(self, x):
        return self.body(x) + self.probe(x @ self.body[0].weight.T)


def test_neurons_that_the_model_needs_elsewhere_are_not_pruned():
    with pytest.raises(ValueError, match="does not run with fewer neurons"):
        prune_neurons(Probe(), torch.randn(30, 8), 3)
