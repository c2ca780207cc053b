import copy

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402

from sklearn_rnla import lora_init  # noqa: E402
from sklearn_rnla.neural.torch import LoraLinear, apply_lora, merge_lora  # noqa: E402
from tests.networks import ROUNDING, assert_same, inputs, net, train  # noqa: E402

METHODS = ["principal", "residual", "activation", "random"]


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
@pytest.mark.parametrize("method", METHODS)
def test_tensors_come_back_as_they_were_given(method, dtype, seed):
    torch.manual_seed(seed)
    W = torch.randn(30, 20).to(dtype)
    X = inputs(dtype=torch.bfloat16) if method == "activation" else None
    found = lora_init(W, 4, method=method, alpha=2, activations=X, random_state=seed)
    for tensor in found[:3]:
        assert isinstance(tensor, torch.Tensor)
        assert tensor.dtype == dtype
    # In double precision, so that what is seen is the rounding of the residual alone.
    A, B, residual = (tensor.double() for tensor in found[:3])
    total = residual + found.scale * B @ A
    eps = 4 * torch.finfo(dtype).eps
    assert (total - W.double()).abs().max() <= eps * W.abs().max().double()


def test_numbers_are_those_of_numpy(seed):
    W = inputs(50, 30)
    found = lora_init(W, 4, random_state=seed)
    expected = lora_init(W.numpy(), 4, random_state=seed)
    for one, other in zip(found[:3], expected[:3], strict=True):
        np.testing.assert_array_equal(one.numpy(), other)


@pytest.mark.parametrize("dtype", list(ROUNDING))
@pytest.mark.parametrize("method", METHODS)
def test_outputs_are_unchanged_before_training(method, dtype):
    module, x = net(dtype=dtype), inputs(dtype=dtype)
    before = module(x)
    activations = {"first.fc": x, "second.fc": torch.randn(50, 30)}
    replaced = apply_lora(
        module,
        "fc",
        4,
        method=method,
        activations=activations if method == "activation" else None,
        random_state=0,
    )
    assert list(replaced) == ["first.fc", "second.fc"]
    assert module.second["fc"] is replaced["second.fc"]
    assert_same(module(x), before, slack=5)


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        ("head", ["head"]),
        (["fc", "head"], ["first.fc", "second.fc", "head"]),
        ("first.*", ["first.fc", "first.gate"]),
        ("second.fc", ["second.fc"]),
        (("head", "second.fc"), ["second.fc", "head"]),
    ],
)
def test_names_choose_layers(names, expected):
    assert list(apply_lora(net(), names, 2, random_state=0)) == expected


def test_only_the_adapters_are_trained_and_merging_keeps_what_they_learned():
    module = net()
    frozen = {n: p.clone() for n, p in module.named_parameters() if "fc" not in n}
    apply_lora(module, "fc", 4, random_state=0)
    residual = module.first["fc"].residual.clone()
    before = module(inputs())
    train(module)
    assert torch.equal(module.first["fc"].residual, residual)
    for name, parameter in module.named_parameters():
        assert name not in frozen or torch.equal(parameter, frozen[name])
    after = module(inputs())
    assert (after - before).abs().max() > 0.01 * before.abs().max()
    merged = merge_lora(module)
    assert list(merged) == ["first.fc", "second.fc"]
    assert type(module.first["fc"]) is nn.Linear
    assert_same(module(inputs()), after)


def test_gradients_are_those_of_the_whole_weight():
    # dL/dA = scale B^T dL/dW, dL/dB = scale dL/dW A^T.
    module = net()
    plain = copy.deepcopy(module)
    layer = apply_lora(module, "head", 2, alpha=5, random_state=0)["head"]
    plain.head.weight.requires_grad_(True)
    for network in (module, plain):
        network(inputs()).square().sum().backward()
    G = plain.head.weight.grad
    assert_same(layer.lora_A.grad, layer.scale * layer.lora_B.T.detach() @ G)
    assert_same(layer.lora_B.grad, layer.scale * G @ layer.lora_A.T.detach())


def test_a_layer_in_two_places_remains_one():
    module = net()
    before = module(inputs())
    replaced = apply_lora(module, ["shared", "again"], 3, random_state=0)
    assert replaced["shared"] is replaced["again"]
    assert module.shared is module.again
    merged = merge_lora(module)
    assert merged["shared"] is merged["again"]
    assert_same(module(inputs()), before)


def test_a_weight_shared_with_an_embedding_leaves_that_alone():
    module = nn.ModuleDict({"embed": nn.Embedding(30, 8), "out": nn.Linear(8, 30)})
    module["out"].weight = module["embed"].weight
    before = module["embed"].weight.clone()
    apply_lora(module, "out", 2, random_state=0)
    assert torch.equal(module["embed"].weight, before)
    assert module["embed"].weight.requires_grad


def test_modules_that_read_the_weight_get_the_whole_one():
    # In evaluation torch's encoder layer passes weights on, and calls no layer.
    torch.manual_seed(0)
    module = nn.TransformerEncoderLayer(16, 2, 32, batch_first=True).requires_grad_(False)
    module.eval()
    x = torch.randn(3, 5, 16)
    before = module(x)
    names = ["linear1", "linear2", "self_attn.out_proj"]
    replaced = apply_lora(module, names, 3, random_state=0)
    assert_same(module(x), before)
    with torch.no_grad():
        for layer in replaced.values():
            layer.lora_B.mul_(-2)
        with_grad = module.train(False)(x.requires_grad_(True))
        assert_same(module(x.detach()), with_grad)
        assert (with_grad - before).abs().max() > 1e-2
        merge_lora(module)
        assert_same(module(x.detach()), with_grad)


def test_state_goes_through_a_file(tmp_path):
    module, other = net(0), net(1)
    for network in (module, other):
        apply_lora(network, "fc", 4, random_state=0)
    train(module)
    torch.save(module.state_dict(), tmp_path / "state.pt")
    other.load_state_dict(torch.load(tmp_path / "state.pt", weights_only=True))
    assert torch.equal(other(inputs()), module(inputs()))


def test_layers_have_streams_of_their_own():
    first, second = (
        apply_lora(net(), ["fc", "gate"], 4, method="random", random_state=0)
        for _ in range(2)
    )
    for name, layer in first.items():
        assert torch.equal(layer.lora_A, second[name].lora_A)
    assert not torch.equal(first["first.fc"].lora_A, first["first.gate"].lora_A)


@pytest.mark.parametrize(
    ("names", "params", "message"),
    [
        ("missing", {}, r"names=\['missing'\] match none of the linear layers: first.fc"),
        (["head", "nope"], {}, r"names=\['nope'\]"),
        ([], {}, "match none"),
        (["first.fc", "head"], {"rank": 9}, "rank=9 must be at most"),
        (
            "fc",
            {"method": "activation"},
            "activations has no entry for the layer 'first.fc'",
        ),
        ("fc", {"activations": {}}, "activations cannot be used with method='principal'"),
    ],
)
def test_bad_names_and_values_leave_the_module_as_it_was(names, params, message):
    module = net().requires_grad_(True)
    layers = dict(module.named_modules())
    with pytest.raises(ValueError, match=message):
        apply_lora(module, names, **({"rank": 2} | params))
    assert dict(module.named_modules()) == layers
    assert all(p.requires_grad for p in module.parameters())


def test_a_whole_name_is_no_pattern():
    module = nn.ModuleDict({"d[0]": nn.Linear(4, 4), "d0": nn.Linear(4, 4)})
    assert list(apply_lora(module, "d[0]", 1, random_state=0)) == ["d[0]"]


@pytest.mark.parametrize(
    ("names", "activations", "message"),
    [
        (None, None, "'names' parameter"),
        ([0], None, "names must be strings, but one is of type int"),
        ("fc", inputs(), "'activations' parameter"),
    ],
)
def test_wrong_types(names, activations, message):
    with pytest.raises(TypeError, match=message):
        apply_lora(net(), names, 2, method="activation", activations=activations)


def test_modules_that_are_none_or_a_layer_are_refused():
    with pytest.raises(TypeError, match="'module' parameter"):
        apply_lora(net().state_dict(), "fc", 2)
    with pytest.raises(ValueError, match="module is a layer itself"):
        apply_lora(nn.Linear(4, 4), "*", 2)


class Doubled(nn.Linear):
    def forward(self, x):
        return 2 * super().forward(x)


def test_layers_that_compute_something_else_are_refused():
    module = nn.Sequential(nn.Linear(4, 4), Doubled(4, 4))
    with pytest.raises(ValueError, match="Layer '1', a Doubled, computes"):
        apply_lora(module, ["0", "1"], 2)
    assert type(module[0]) is nn.Linear
    module[0].forward = lambda x: 2 * x
    with pytest.raises(ValueError, match="Layer '0', a Linear, computes"):
        apply_lora(module, "0", 2)


@pytest.mark.parametrize("dtype", [torch.int8, torch.float8_e4m3fn])
def test_quantised_weights_are_refused(dtype):
    module = nn.Sequential(nn.Linear(4, 4))
    module[0].weight = nn.Parameter(torch.zeros(4, 4).to(dtype), requires_grad=False)
    with pytest.raises(ValueError, match=r"layer '0' holds torch\..*, but floats of two"):
        apply_lora(module, "0", 2)


def test_errors_tell_the_layer():
    module = net()
    module.head.weight[0, 0] = torch.nan
    with pytest.raises(ValueError, match="NaN") as caught:
        apply_lora(module, ["fc", "head"], 2)
    assert caught.value.__notes__ == ["Layer: 'head'."]


def test_adapted_layers_are_not_adapted_again():
    module = net()
    apply_lora(module, "fc", 2, random_state=0)
    with pytest.raises(ValueError, match="without an adapter"):
        apply_lora(module, "fc", 2)


def test_modules_without_adapters_are_refused():
    with pytest.raises(ValueError, match="Net has no layer with an adapter"):
        merge_lora(net())


def test_a_layer_says_what_it_is():
    layer = apply_lora(net(), "head", 2, alpha=1, random_state=0)["head"]
    assert isinstance(layer, LoraLinear)
    assert repr(layer) == (
        "LoraLinear(in_features=25, out_features=3, bias=True, rank=2, scale=0.5)"
    )


def test_hooks_of_a_layer_are_those_of_the_new_one():
    module, seen = net(), []
    handle = module.head.register_forward_hook(lambda *found: seen.append(found[2]))
    apply_lora(module, "head", 2, random_state=0)
    module(inputs())
    merge_lora(module)
    module(inputs())
    assert_same(*seen)
    handle.remove()
    module(inputs())
    assert len(seen) == 2


@pytest.mark.parametrize("method", ["principal", "random"])
def test_a_weight_that_is_tied_again_keeps_what_training_changed(method):
    module = net()
    original = module.head.weight
    layer = apply_lora(module, "head", 2, method=method, random_state=0)["head"]
    train(module)
    after = module(inputs())
    # What `tie_weights()` of a transformer does.
    layer.weight = original
    assert_same(module(inputs()), after)
    change = layer.weight - original
    layer.weight = nn.Parameter(2 * original)
    assert_same(layer.weight, 2 * original + change)
    with pytest.raises(ValueError, match=r"weight has shape \(4, 4\), but the"):
        layer.weight = torch.ones(4, 4)
