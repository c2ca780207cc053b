"""Adapters that PEFT loads, and those that it could not use."""

import copy
import json

import pytest

torch = pytest.importorskip("torch")
load_file = pytest.importorskip("safetensors.torch").load_file

from torch import nn  # noqa: E402
from torch.optim.swa_utils import AveragedModel  # noqa: E402

from sklearn_rnla.neural.torch import apply_lora, merge_lora, save_adapter  # noqa: E402
from tests.networks import assert_same, inputs, net, train  # noqa: E402


@pytest.mark.parametrize("method", ["principal", "residual", "random"])
def test_saved_adapter_holds_what_training_changed(method, tmp_path):
    module = net()
    weight = module.first["fc"].weight.clone()
    layer = apply_lora(module, "first.fc", 4, method=method, alpha=6, random_state=0)
    layer = layer["first.fc"]
    train(module)
    save_adapter(module, tmp_path / "adapter", base_model="some/model")
    tensors = load_file(tmp_path / "adapter" / "adapter_model.safetensors")
    config = json.loads((tmp_path / "adapter" / "adapter_config.json").read_text())
    prefix = "base_model.model.first.fc"
    assert set(tensors) == {f"{prefix}.lora_A.weight", f"{prefix}.lora_B.weight"}
    A, B = tensors[f"{prefix}.lora_A.weight"], tensors[f"{prefix}.lora_B.weight"]
    assert config["r"] == len(A) == (4 if method == "random" else 8)
    assert config["base_model_name_or_path"] == "some/model"
    scale = config["lora_alpha"] / config["r"]
    assert_same(weight + scale * B @ A, layer.weight)


@pytest.mark.parametrize("method", ["principal", "residual", "random"])
def test_peft_loads_the_adapter_into_the_original_model(method, tmp_path):
    peft = pytest.importorskip("peft")
    module = net()
    original = copy.deepcopy(module)
    # Two ranks and scales, and names that end in one another's.
    apply_lora(module, "first.fc", 4, method=method, alpha=6, random_state=0)
    apply_lora(module, ["second.fc", "head"], 3, method=method, alpha=1, random_state=0)
    train(module)
    save_adapter(module, tmp_path)
    before = original(inputs())
    loaded = peft.PeftModel.from_pretrained(original, str(tmp_path))
    after = module(inputs())
    assert (after - before).abs().max() > 0.01 * before.abs().max()
    # PEFT holds adapters in single precision.
    assert_same(loaded(inputs()), after, slack=1e6)
    merge_lora(module)
    assert_same(loaded.merge_and_unload()(inputs()), module(inputs()), slack=1e6)


def test_peft_gives_layers_of_like_names_their_own_ranks(tmp_path):
    peft = pytest.importorskip("peft")
    module = net()
    original = copy.deepcopy(module)
    apply_lora(module, "first.fc", 2, alpha=3, random_state=0)
    inner = nn.ModuleDict(
        {"first": module.first, "x": nn.ModuleDict({"first": net().first})}
    )
    plain = nn.ModuleDict(
        {"first": original.first, "x": nn.ModuleDict({"first": net().first})}
    )
    apply_lora(inner, "x.first.fc", 5, alpha=1, random_state=0)
    with torch.no_grad():
        for name in ("first.fc", "x.first.fc"):
            inner.get_submodule(name).lora_B.mul_(2)
    save_adapter(inner, tmp_path)
    loaded = peft.PeftModel.from_pretrained(plain, str(tmp_path)).merge_and_unload()
    for name in ("first.fc", "x.first.fc"):
        weight = inner.get_submodule(name).weight
        assert_same(loaded.get_submodule(name).weight, weight, slack=1e6)


def test_peft_adapts_no_layer_whose_name_ends_alike(tmp_path):
    peft = pytest.importorskip("peft")
    torch.manual_seed(0)
    inner = nn.ModuleDict({"fc": nn.Linear(20, 20), "f_c": nn.Linear(20, 20)})
    module = nn.ModuleDict({"inner": inner, "fc": nn.Linear(20, 20)}).double()
    original = copy.deepcopy(module)
    found = apply_lora(module.requires_grad_(False), ["fc", "inner.f_c"], 2, random_state=0)
    assert list(found) == ["inner.f_c", "fc"]
    with torch.no_grad():
        for layer in (found["fc"], found["inner.f_c"]):
            layer.lora_B.mul_(2)
    save_adapter(module, tmp_path)
    loaded = peft.PeftModel.from_pretrained(original, str(tmp_path)).merge_and_unload()
    assert_same(loaded["inner"]["fc"].weight, module["inner"]["fc"].weight)
    for name in ("fc", "inner.f_c"):
        weight = loaded.get_submodule(name).weight
        assert_same(weight, module.get_submodule(name).weight, slack=1e6)


# Of PEFT, by a later version of transformers.
@pytest.mark.filterwarnings("ignore:.*is_gradient_checkpointing:FutureWarning")
def test_peft_loads_the_adapter_into_a_transformer(tmp_path):
    peft = pytest.importorskip("peft")
    transformers = pytest.importorskip("transformers")
    config = transformers.BertConfig(
        vocab_size=40,
        hidden_size=24,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=48,
    )
    torch.manual_seed(0)
    module = transformers.BertModel(config).eval().requires_grad_(False)
    original = copy.deepcopy(module)
    tokens = torch.arange(10).reshape(2, 5)
    before = module(tokens).last_hidden_state
    layers = apply_lora(module, ["query", "value", "encoder.*.dense"], 3, random_state=0)
    assert len(layers) == 2 * 5
    assert_same(module(tokens).last_hidden_state, before)
    with torch.no_grad():
        for layer in layers.values():
            layer.lora_B.mul_(1.5)
    save_adapter(module, tmp_path)
    loaded = peft.PeftModel.from_pretrained(original, str(tmp_path))
    after = module(tokens).last_hidden_state
    assert_same(loaded(tokens).last_hidden_state, after)
    assert (after - before).abs().max() > 1e-3


def test_an_adapter_of_a_layer_in_two_places_is_not_saved(tmp_path):
    module = net()
    apply_lora(module, ["shared", "again"], 3, random_state=0)
    with pytest.raises(ValueError, match="two places, 'shared' and 'again'"):
        save_adapter(module, tmp_path)
    module = net()
    apply_lora(module, "again", 3, random_state=0)
    with pytest.raises(ValueError, match="'again' also stood at 'shared'"):
        save_adapter(module, tmp_path)


def test_modules_without_adapters_are_not_saved(tmp_path):
    with pytest.raises(ValueError, match="Net has no layer with an adapter"):
        save_adapter(net(), tmp_path)


WRAPPERS = {
    "compiled": lambda module: torch.compile(module, backend="eager"),
    "for devices": nn.DataParallel,
    "averaged": AveragedModel,
    "twice": lambda module: nn.DataParallel(torch.compile(module, backend="eager")),
}


@pytest.mark.parametrize("wrap", list(WRAPPERS))
def test_names_are_those_inside_of_what_wraps_a_model(wrap, tmp_path):
    module = WRAPPERS[wrap](nn.ModuleDict({"module": net()}))
    apply_lora(module, "head", 2, random_state=0)
    save_adapter(module, tmp_path)
    tensors = load_file(tmp_path / "adapter_model.safetensors")
    prefix = "base_model.model.module.head"
    assert set(tensors) == {f"{prefix}.lora_A.weight", f"{prefix}.lora_B.weight"}
    config = json.loads((tmp_path / "adapter_config.json").read_text())
    assert config["target_modules"] == ["module.head"]


def test_a_layer_alone_is_no_model(tmp_path):
    module = nn.DataParallel(nn.Linear(4, 4))
    apply_lora(module, "module", 2, random_state=0)
    with pytest.raises(ValueError, match="module is a layer itself"):
        save_adapter(module, tmp_path)


class Reader(nn.Module):
    """Computes with the weight of a layer, and calls it where `calls` is true."""

    def __init__(self, calls=False):
        super().__init__()
        self.fc, self.calls = nn.Linear(20, 20), calls

    def forward(self, x):
        return self.fc(x) @ self.fc.weight if self.calls else x @ self.fc.weight.T


class Casting(nn.Module):
    """Reads no more than the dtype of a weight, as some transformers do."""

    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(20, 20)

    def forward(self, x):
        return self.fc(x.to(self.fc.weight.dtype))


def encoder_layer(**options):
    return nn.TransformerEncoderLayer(20, 2, 30, dropout=0.0, **options)


@pytest.mark.parametrize("trained", [False, True])
@pytest.mark.parametrize(
    ("build", "name"),
    [
        (Reader, "fc"),
        (lambda: encoder_layer(batch_first=True), "linear1"),
        (lambda: encoder_layer(batch_first=True), "linear2"),
        (encoder_layer, "self_attn.out_proj"),
        (lambda: nn.TransformerDecoderLayer(20, 2), "multihead_attn.out_proj"),
    ],
)
def test_adapters_of_weights_that_a_module_reads_are_not_saved(
    build, name, trained, tmp_path
):
    torch.manual_seed(0)
    module = build().double().requires_grad_(False)
    apply_lora(module, name, 2, random_state=0)
    x = inputs()[None]
    arguments = (x, x) if isinstance(module, nn.TransformerDecoderLayer) else (x,)
    if trained:
        module(*arguments).square().sum().backward()
    else:
        with torch.no_grad():
            module(*arguments)
    with pytest.raises(ValueError, match=f"{name}' reads its weight .* Use merge_lora"):
        save_adapter(module, tmp_path)


def test_adapters_of_weights_that_are_also_read_are_not_saved(tmp_path):
    module = Reader(calls=True).double()
    apply_lora(module, "fc", 2, random_state=0)
    save_adapter(module, tmp_path)
    train(module, 1)
    with pytest.raises(ValueError, match="'fc' reads its weight"):
        save_adapter(module, tmp_path)


@pytest.mark.parametrize("build", [Casting, encoder_layer])
def test_adapters_of_layers_that_are_called_are_saved(build, tmp_path):
    module = build().double().requires_grad_(False)
    found = apply_lora(module, ["fc", "linear1"][build is encoder_layer], 2, random_state=0)
    train(module, 1)
    (layer,) = found.values()
    # A look at the weight is none of the model's.
    assert layer.weight.requires_grad
    save_adapter(module.eval(), tmp_path)
