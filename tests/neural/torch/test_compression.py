"""Torch layers in pairs."""

import numpy as np
import pytest

from sklearn_rnla import compress_layers, low_rank_factorize, select_neurons

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402

from sklearn_rnla.neural.torch import compress  # noqa: E402


def close(actual, desired, rtol=1e-4):
    return torch.linalg.norm(actual - desired) <= rtol * torch.linalg.norm(desired)


@torch.no_grad()
def low_rank(layer, rank):
    """Give a layer a matrix of that rank."""
    W = layer.weight.flatten(1)
    U, s, Vt = torch.linalg.svd(W, full_matrices=False)
    layer.weight.copy_(((U[:, :rank] * s[:rank]) @ Vt[:rank]).reshape(layer.weight.shape))
    return layer


CONVOLUTIONS = [
    {"kernel_size": 3},
    {"kernel_size": 3, "padding": 1, "stride": 2},
    {"kernel_size": (3, 2), "padding": (2, 1), "dilation": (1, 2)},
    {"kernel_size": 3, "padding": "same", "dilation": 2},
    {"kernel_size": 4, "padding": "same"},
    {"kernel_size": 3, "padding": "valid", "bias": False},
    {"kernel_size": 3, "padding": (1, 2), "padding_mode": "circular"},
    {"kernel_size": 2, "padding": "same", "padding_mode": "reflect"},
    {"kernel_size": 1},
]


# torch says so itself of even kernels.
@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel:UserWarning")
@pytest.mark.parametrize("options", CONVOLUTIONS)
@pytest.mark.parametrize("seen", [False, True])
def test_a_convolution_of_low_rank_is_replaced_without_error(options, seen):
    torch.manual_seed(0)
    model = nn.Sequential(low_rank(nn.Conv2d(6, 12, **options), 3))
    x = torch.randn(4, 6, 9, 10)
    found = compress(model, rank=3, inputs=x if seen else None)
    assert isinstance(found.model[0], nn.Sequential)
    assert found.table["n_parameters"] == [
        sum(part.weight.numel() for part in found.model[0])
    ]
    with torch.no_grad():
        assert close(found.model(x), model(x))


@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel:UserWarning")
@pytest.mark.parametrize("options", CONVOLUTIONS)
def test_what_a_convolution_is_said_to_lose_is_what_it_loses(options):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(6, 12, **options)).double()
    x = 1 + torch.randn(4, 6, 9, 10).double()
    found = compress(model, rank=3, inputs=x, ridge=0.0)
    with torch.no_grad():
        Y = model(x)
        D = found.model(x) - Y
        if model[0].bias is not None:
            Y = Y - Y.mean(dim=(0, 2, 3), keepdim=True)
    error = float(torch.linalg.norm(D) / torch.linalg.norm(Y))
    np.testing.assert_allclose(found.table["output_error"], [error], rtol=1e-9)


def test_a_linear_layer_becomes_what_the_function_says():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(20, 30), nn.Tanh(), nn.Linear(30, 10, bias=False))
    x = torch.randn(5, 40, 20)
    found = compress(model, compression=2.0, inputs=x)
    with torch.no_grad():
        hidden = torch.tanh(model[0](x))
    for i, inputs in ((0, x), (2, hidden)):
        W, bias = model[i].weight, model[i].bias
        factors = low_rank_factorize(W, compression=2.0, activations=inputs, bias=bias)
        first, second = found.model[i]
        assert close(second.weight @ first.weight, factors.left @ factors.right)
        assert first.bias is None
        if bias is not None:
            assert close(second.bias, factors.bias)
        assert second.bias is None or second.bias.requires_grad
    assert found.table["rank"] == [6, 3]


def network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(30, 40), nn.ReLU(), nn.Linear(40, 30)).eval()


def test_a_budget_is_that_of_all_layers():
    model, x = network(), torch.randn(200, 30)
    found = compress(model, 0.5, inputs=x)
    pairs = [part for part in found.model.modules() if isinstance(part, nn.Linear)]
    used = sum(part.weight.numel() for part in pairs)
    assert used == sum(found.table["n_parameters"]) <= 1200
    weights = {"0": model[0].weight, "2": model[2].weight}
    biases = {"0": model[0].bias, "2": model[2].bias}
    plain = compress(model, 0.5)
    same = compress_layers(weights, 0.5, biases=biases)
    assert plain.table == same.table


def test_outputs_lose_less_on_what_was_seen():
    model = network()
    x = torch.randn(300, 10) @ torch.randn(10, 30)
    with torch.no_grad():
        lost = {
            seen: torch.linalg.norm(
                compress(model, 0.5, inputs=x[:150] if seen else None).model(x[150:])
                - model(x[150:])
            )
            for seen in (False, True)
        }
    assert lost[True] < lost[False]


def test_a_copy_is_changed_or_the_model_itself():
    model, x = network(), torch.randn(20, 30)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    model.train()
    found = compress(model, 0.5, inputs=x)
    assert found.model is not model
    assert all(torch.equal(before[name], v) for name, v in model.state_dict().items())
    assert model.training
    assert all(part.training for part in found.model.modules())
    assert not any(part._forward_pre_hooks for part in found.model.modules())
    assert compress(model, 0.5, inplace=True).model is model
    assert isinstance(model[0], nn.Sequential)
    # It is trained on.
    model(x).square().sum().backward()
    assert all(part.grad is not None for part in model.parameters())


def test_layers_where_pairs_are_larger_or_not_named_stay():
    model = network()
    assert compress(model, energy=1.0).table["rank"] == [None, None]
    found = compress(model, rank=5, layers=["2"])
    assert isinstance(found.model[0], nn.Linear)
    assert found.table["layer"] == ["2"]
    grouped = nn.Sequential(nn.Conv2d(4, 8, 3, groups=2), nn.Conv2d(8, 8, 3))
    found = compress(grouped, rank=2)
    assert isinstance(found.model[0], nn.Conv2d)
    assert found.table["layer"] == ["1"]


def test_a_shared_layer_is_replaced_everywhere():
    shared = nn.Linear(20, 20)
    model = nn.Sequential(shared, nn.ReLU(), shared)
    found = compress(model, rank=3).model
    assert isinstance(found[0], nn.Sequential)
    assert found[0] is found[2]


@pytest.mark.filterwarnings("ignore:The PyTorch API of nested tensors:UserWarning")
def test_a_transformer_uses_the_pairs():
    """Whose fast path would read weights that are not there any more."""
    torch.manual_seed(0)
    block = nn.TransformerEncoderLayer(16, 2, 64, batch_first=True)
    model = nn.TransformerEncoder(block, 2).eval()
    for part in model.layers:
        low_rank(part.linear1, 4)
        low_rank(part.linear2, 4)
    x, mask = torch.randn(3, 7, 16), torch.zeros(3, 7, dtype=torch.bool)
    mask[:, 5:] = True
    found = compress(model, rank=4, inputs=x)
    with torch.no_grad():
        assert close(found.model(x), model(x))
        masked = found.model(x, src_key_padding_mask=mask)[:, :5]
        assert close(masked, model(x, src_key_padding_mask=mask)[:, :5])
    assert found.table["rank"] == [4] * 4


class TwoInputs(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Linear(8, 8), nn.Linear(8, 8)

    def forward(self, x, *, y):
        return self.a(x) + self.b(y)


def test_batches_may_be_tensors_or_arguments():
    x = torch.randn(60, 30)
    whole = compress(network(), 0.5, inputs=x).table
    parts = compress(network(), 0.5, inputs=[x[:50], (x[50:],)]).table
    np.testing.assert_allclose(whole["output_error"], parts["output_error"], rtol=1e-5)
    torch.manual_seed(0)
    model = TwoInputs()
    found = compress(model, rank=2, inputs=[{"x": x[:, :8], "y": x[:, 8:16]}])
    assert found.table["rank"] == [2, 2]


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_precision_is_kept(dtype):
    model = network().to(dtype)
    found = compress(model, rank=4).model
    assert {value.dtype for value in found.state_dict().values()} == {dtype}
    factors = low_rank_factorize(model[0].weight, rank=4)
    assert factors.left.dtype == dtype
    layer = select_neurons(
        model[0].weight, model[2].weight, torch.randn(50, 40), 5, bias_out=model[2].bias
    )
    assert layer.W_out.dtype == layer.bias_out.dtype == dtype


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "Exactly one of .* got none"),
        ({"budget": 0.5, "rank": 2}, "Exactly one of .* got budget=0.5, rank=2"),
        ({"rank": 0}, "'rank' parameter"),
        ({"error": -0.1}, "'error' parameter"),
        ({"budget": 1.1}, "'budget' parameter"),
        ({"rank": 2, "layers": ["1"]}, "layers has '1', but must be of '0', '2'"),
        ({"rank": 2, "inputs": torch.full((3, 30), torch.nan)}, "NaN or infinity"),
        ({"rank": 2, "inputs": []}, "inputs never reach layer '0'"),
        ({"rank": 2, "layers": []}, r"layers=\[\] must name"),
        ({"compression": 0.0}, "'compression' parameter"),
        ({"compression": 50}, "compression=50 must be at most 17.14, which rank 1"),
    ],
)
def test_bad_arguments_are_named(options, message):
    with pytest.raises(ValueError, match=message):
        compress(network(), **options)


def test_a_model_without_layers_is_refused():
    with pytest.raises(ValueError, match="model has no torch"):
        compress(nn.Sequential(nn.ReLU()), rank=1)
    with pytest.raises(ValueError, match="model is a layer itself"):
        compress(nn.Linear(3, 3), rank=1)


@pytest.mark.parametrize("inputs", [np.ones((3, 30)), [np.ones((3, 30))], "words", 3])
def test_inputs_that_are_no_tensors_are_named(inputs):
    with pytest.raises(TypeError, match=r"inputs (must be a tensor|are tensors)"):
        compress(network(), rank=2, inputs=inputs)


def test_a_lazy_layer_is_refused_until_it_has_a_weight():
    model = nn.Sequential(nn.LazyLinear(20))
    with pytest.raises(ValueError, match="layer '0' has no weight yet"):
        compress(model, rank=2)
    model(torch.ones(2, 20))
    assert compress(model, rank=2).table["rank"] == [2]


class ByName(nn.Module):
    """Calls its layer by a keyword, and reads its weight."""

    def __init__(self, layer):
        super().__init__()
        self.layer = layer

    def forward(self, x):
        assert self.layer.bias.shape == self.layer.weight.shape[:1]
        return self.layer(input=x.to(self.layer.weight.dtype))


@torch.no_grad()
@pytest.mark.parametrize("kind", [nn.Linear, lambda m, n: nn.Conv2d(m, n, 3)])
def test_a_model_may_name_inputs_and_read_the_weight(kind):
    torch.manual_seed(0)
    model = ByName(low_rank(kind(16, 12), 3))
    x = torch.randn(5, 16, 9, 16)
    found = compress(model, rank=3, inputs={"x": x}).model
    assert close(found(x), model(x))
    assert close(found.layer.weight, model.layer.weight)


@torch.no_grad()
def test_padded_tokens_are_seen_as_any():
    torch.manual_seed(0)
    block = nn.TransformerEncoderLayer(16, 2, 64, batch_first=True)
    model = nn.TransformerEncoder(block, 1).eval()
    x, mask = torch.randn(30, 7, 16), torch.zeros(30, 7, dtype=torch.bool)
    mask[:, 5:] = True
    nested = model.use_nested_tensor
    found = compress(model, 0.9, inputs={"src": x, "src_key_padding_mask": mask})
    assert model.use_nested_tensor is nested
    assert found.model(x, src_key_padding_mask=mask).shape == x.shape


def test_a_seed_gives_the_same_pairs():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(520, 520))
    first, second = (
        compress(model, rank=4, random_state=0).model[0][0].weight for _ in range(2)
    )
    assert torch.equal(first, second)


def test_a_layer_of_shared_weight_stays_unless_it_is_named():
    embedding, head = nn.Embedding(50, 20), nn.Linear(20, 50, bias=False)
    head.weight = embedding.weight
    model = nn.Sequential(embedding, nn.Linear(20, 20), head)
    found = compress(model, 0.5)
    assert found.table["layer"] == ["1"]
    assert found.model[2].weight is found.model[0].weight
    assert compress(model, 0.5, layers=["2"]).table["layer"] == ["2"]
    with pytest.raises(ValueError, match="no layer whose weight is its own"):
        compress(nn.Sequential(embedding, head), 0.5)


def test_compression_at_its_own_boundary_keeps_that_rank():
    model = nn.Sequential(nn.Linear(10, 7), nn.Linear(2, 7))
    found = compress(model, compression=70 / 51)
    assert found.table["rank"] == [3, 1]
    # Where rank 1 is not small enough.
    assert compress(model, compression=70 / 17).table["rank"] == [1, None]


def small_network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 6))


def test_a_single_name_is_a_list_of_one():
    table = compress(small_network(), rank=1, layers="2").table
    assert table["layer"] == ["2"]


def test_one_sample_tells_nothing():
    with pytest.raises(ValueError, match="activations are one sample"):
        compress(small_network(), 0.5, inputs=torch.ones(1, 4))


@pytest.mark.parametrize(
    ("inputs", "error", "message", "note"),
    [
        (
            [(torch.ones(3, 4), torch.ones(3))],
            TypeError,
            "positional arguments",
            "Entries of a batch are arguments of the model: leave out labels.",
        ),
        (torch.ones(3, 5), ValueError, "have width 5, but it takes 4", "Layer: '0'."),
        (torch.full((3, 4), torch.nan), ValueError, "NaN", "Layer: '0'."),
    ],
)
def test_notes_say_where_inputs_do_not_fit(inputs, error, message, note):
    with pytest.raises(error, match=message) as caught:
        compress(small_network(), 0.5, inputs=inputs)
    assert note in caught.value.__notes__


def test_hooks_of_a_layer_are_those_of_the_pair():
    model, seen = small_network(), []
    handle = model[2].register_forward_hook(lambda *found: seen.append(found[2]))
    found = compress(model, rank=1, layers="2", inplace=True).model
    out = found(torch.ones(3, 4))
    assert len(seen) == 1
    assert torch.equal(seen[0], out)
    handle.remove()
    found(torch.ones(3, 4))
    assert len(seen) == 1


class Strided(nn.Module):
    """Reads all that a convolution holds, and does not call it."""

    def __init__(self, conv):
        super().__init__()
        self.conv = conv

    def forward(self, x):
        conv = self.conv
        return nn.functional.conv2d(x, conv.weight, conv.bias, conv.stride, conv.padding)


@torch.no_grad()
@pytest.mark.filterwarnings("ignore:.*torch.jit")
@pytest.mark.parametrize("build", [nn.Sequential, Strided])
@pytest.mark.parametrize("script", [False, True])
def test_a_model_that_reads_all_of_a_pair_can_be_scripted(build, script):
    torch.manual_seed(0)
    conv = low_rank(nn.Conv2d(6, 12, 3, stride=2, padding=1), 3)
    x = torch.randn(4, 6, 9, 10)
    model = build(conv)
    found = compress(model, rank=3).model
    assert close((torch.jit.script(found) if script else found)(x), model(x))


def test_a_pair_takes_no_weight():
    pair = compress(small_network(), rank=1, layers="0").model[0]
    with pytest.raises(ValueError, match="weight cannot be set, as a pair of layers"):
        pair.weight = nn.Parameter(torch.ones(8, 4))
