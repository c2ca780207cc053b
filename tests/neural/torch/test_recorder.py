"""What a recorder sums up while a model runs is what all activations at once would give."""

import copy

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402
from torch.utils.checkpoint import checkpoint  # noqa: E402

from sklearn_rnla import linear_cka, principal_angles, representation_spectrum  # noqa: E402
from sklearn_rnla.neural.torch import ActivationRecorder  # noqa: E402

LAYERS = ["0", "1", "2"]


class Twice(torch.nn.Module):
    """Runs its layer two times, and gives a tuple."""

    def __init__(self):
        super().__init__()
        self.layer, self.other = torch.nn.Linear(4, 4), torch.nn.Linear(4, 4)

    def forward(self, x):
        return self.layer(self.layer(x)), self.other(x)


class Failing(torch.nn.Module):
    """Fails where it sees a negative sum."""

    def forward(self, x):
        if x.sum() < 0:
            raise RuntimeError("negative")
        return x


def make_model():
    torch.manual_seed(0)
    return torch.nn.Sequential(
        torch.nn.Linear(6, 20), torch.nn.ReLU(), torch.nn.Linear(20, 9)
    )


def data(n=300, seed=0):
    return torch.randn(n, 6, generator=torch.Generator().manual_seed(seed))


def activations(model, x):
    found, out = {}, x
    for name, layer in model.named_children():
        out = found[name] = layer(out)
    return {name: out.detach().numpy() for name, out in found.items()}


def has_hooks(model):
    return any(m._forward_hooks or m._forward_pre_hooks for m in model.modules())


@pytest.mark.parametrize("size", [1, 37, 300])
@pytest.mark.parametrize("center", [True, False])
def test_batches_of_any_size_give_what_all_at_once_give(size, center):
    model, x = make_model(), data()
    with ActivationRecorder(model, LAYERS, similarity=True, center=center) as recorder:
        for batch in x.split(size):
            model(batch)
    truth = activations(model, x)
    for name, spectrum in recorder.spectra().items():
        expected = representation_spectrum(truth[name], center=center)
        np.testing.assert_allclose(
            spectrum.eigenvalues, expected.eigenvalues, atol=1e-5 * expected.eigenvalues[0]
        )
        assert spectrum.n_samples == 300
        assert spectrum[2:5] == pytest.approx(expected[2:5], rel=1e-4)
    for debiased in (False, True):
        cka = recorder.cka(debiased=debiased)
        expected = [
            [linear_cka(truth[i], truth[j])[debiased] for i in LAYERS] for j in LAYERS
        ]
        np.testing.assert_allclose(cka, expected, rtol=1e-4)


@pytest.mark.parametrize("size", [17, 100])
def test_few_components_keep_few_directions_and_true_bounds(size):
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Linear(6, 200), torch.nn.Tanh())
    x = data(500)
    with ActivationRecorder(model, ["1"], n_components=4) as recorder:
        for batch in x.split(size):
            model(batch)
    assert recorder._summaries["1"].factor.shape[0] <= 2 * 4 + 32
    found = recorder.spectrum("1")
    truth = representation_spectrum(activations(model, x)["1"])
    np.testing.assert_allclose(found.eigenvalues, truth.eigenvalues[:4], rtol=1e-3)
    assert found.total_variance == pytest.approx(truth.total_variance, rel=1e-5)
    for name in ("effective_rank", "participation_ratio", "stable_rank"):
        low, high = getattr(found.lower, name), getattr(found.upper, name)
        assert low * (1 - 1e-5) <= getattr(truth, name) <= high * (1 + 1e-5)


def test_hooks_are_removed_and_the_model_is_as_before():
    model, x = make_model(), data()
    before = model(x)
    with ActivationRecorder(model, LAYERS):
        assert has_hooks(model)
        assert torch.equal(model(x), before)
    assert not has_hooks(model)
    recorder = ActivationRecorder(model, "0")
    with recorder:
        model(x)
    with pytest.raises(RuntimeError), recorder:
        model(x[:, :2])
    assert not has_hooks(model)
    # What was recorded stays, and more can be added.
    assert recorder.spectrum("0").n_samples == 300
    with recorder:
        model(x)
    assert recorder.spectrum("0").n_samples == 600


def test_gradients_flow_and_no_graph_is_kept():
    model, x = make_model(), data()
    with ActivationRecorder(model, LAYERS, similarity=True) as recorder:
        model(x).sum().backward()
    assert all(p.grad is not None for p in model.parameters())
    assert recorder.spectrum("2").n_samples == 300


def test_what_changes_an_output_in_place_is_not_recorded():
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Linear(6, 8), torch.nn.ReLU(inplace=True))
    x = data()
    with ActivationRecorder(model, ["0", "1"], similarity=True) as recorder:
        model(x)
    expected = representation_spectrum(model[0](x).detach())
    np.testing.assert_allclose(
        recorder.spectrum("0").eigenvalues, expected.eigenvalues, atol=1e-6
    )


def test_masked_tokens_do_not_count():
    model = make_model()
    x = data(60).reshape(5, 12, 6)
    mask = torch.rand(5, 12, generator=torch.Generator().manual_seed(1)) < 0.6
    with ActivationRecorder(model, LAYERS, similarity=True) as recorder:
        for batch, part in zip(x.split(2), mask.split(2), strict=True):
            recorder.mask = part.int()
            model(batch)
    expected = representation_spectrum(activations(model, x[mask])["0"])
    found = recorder.spectrum("0")
    assert found.n_samples == mask.sum()
    np.testing.assert_allclose(found.eigenvalues, expected.eigenvalues, atol=1e-5)
    recorder.mask = mask[:, 0]
    with pytest.raises(ValueError, match=r"mask has shape \(5,\)"), recorder:
        model(x)
    with recorder:
        recorder.mask = torch.zeros(5, 12)
        model(x)
    assert recorder.spectrum("0").n_samples == mask.sum()


def test_features_of_convolutions_are_on_another_axis():
    torch.manual_seed(0)
    model = torch.nn.Conv2d(2, 5, 3)
    x = torch.randn(4, 2, 8, 8)
    with ActivationRecorder(model, "", feature_axis=1) as recorder:
        out = model(x)
    rows = out.detach().movedim(1, -1).reshape(-1, 5)
    expected = representation_spectrum(rows)
    np.testing.assert_allclose(
        recorder.spectrum("").eigenvalues, expected.eigenvalues, rtol=1e-4
    )


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
def test_half_precision_is_recorded_in_single(dtype):
    model, x = make_model().to(dtype), data().to(dtype)
    with ActivationRecorder(model, ["0"]) as recorder:
        model(x)
    out = model[0](x).detach()
    expected = representation_spectrum(out.float())
    np.testing.assert_allclose(
        recorder.spectrum("0").eigenvalues,
        expected.eigenvalues,
        atol=1e-5 * expected.eigenvalues[0],
    )
    # Functions take such tensors as they are, a block at a time.
    direct = representation_spectrum(out, block_size=50)
    np.testing.assert_allclose(
        direct.eigenvalues, expected.eigenvalues, atol=1e-5 * expected.eigenvalues[0]
    )
    assert linear_cka(out, out.double()).similarity == pytest.approx(1)
    assert principal_angles(out, out.double()).max() <= 1e-6


def test_a_pass_that_fails_leaves_nothing_behind():
    model = torch.nn.Sequential(torch.nn.Identity(), Failing(), torch.nn.ReLU())
    good, bad = data().abs(), -data(70).abs()
    with ActivationRecorder(model, ["0", "2"], similarity=True) as recorder:
        model(good)
        with pytest.raises(RuntimeError, match="negative"):
            model(bad)
        model(2 * good)
    assert recorder.spectrum("0").n_samples == 600
    np.testing.assert_allclose(recorder.cka(), 1, rtol=1e-5)


def test_not_finite_activations_are_refused_and_leave_the_rest():
    model, x = make_model(), data()
    with ActivationRecorder(model, ["0"]) as recorder:
        model(x)
        with pytest.raises(ValueError, match="output of layer '0' contains NaN"):
            model(x * np.nan)
    assert recorder.spectrum("0").n_samples == 300


def record(layers, x=None, model=None, **parameters):
    model = model or make_model()
    with ActivationRecorder(model, layers, **parameters) as recorder:
        if x is not None:
            model(x)
    return recorder


def wide_model():
    torch.manual_seed(0)
    layers = [torch.nn.Linear(6, 300), torch.nn.ReLU(), torch.nn.Linear(300, 200)]
    return torch.nn.Sequential(*layers, torch.nn.Linear(200, 5)).double()


@pytest.mark.parametrize("debiased", [False, True])
def test_sketched_similarity_is_right_on_average(debiased):
    names, model, x = ["0", "1", "2", "3"], wide_model(), data().double()
    exact = record(names, x, model, similarity=True).cka(debiased=debiased)
    found = np.array(
        [
            record(names, x, model, similarity=True, sketch_size=40, random_state=i).cka(
                debiased=debiased
            )
            for i in range(30)
        ]
    )
    spread = found.std(axis=0)
    assert spread[0, 2] > 1e-4
    assert spread.max() < 0.1
    # A ratio of unbiased estimates is biased by their variance.
    errors = np.abs(found.mean(axis=0) - exact)
    assert (errors <= 4 * spread / 30**0.5 + 2 * spread**2 + 1e-12).all()


@pytest.mark.parametrize("size", [8, 32])
@pytest.mark.parametrize("debiased", [False, True])
def test_layers_of_one_direction_lose_nothing_in_a_sketch(size, debiased):
    class Outer(torch.nn.Module):
        """Two layers that put out multiples of one row each."""

        def __init__(self):
            super().__init__()
            self.layers = torch.nn.ModuleList([torch.nn.Identity() for _ in "ab"])

        def forward(self, x):
            direction = torch.linspace(1, 2, 50, dtype=x.dtype)
            for layer, column in zip(self.layers, x.T, strict=True):
                layer(column[:, None] * direction)

    x = torch.randn(40, 2, generator=torch.Generator().manual_seed(0)).double()
    x[:, 1] += x[:, 0]
    names = ["layers.0", "layers.1"]
    exact = record(names, x, Outer(), similarity=True)
    sketched = record(names, x, Outer(), similarity=True, sketch_size=size, random_state=0)
    np.testing.assert_allclose(
        sketched.cka(debiased=debiased), exact.cka(debiased=debiased), rtol=1e-10
    )


def test_layers_no_wider_than_the_sketch_are_exact():
    names, model, x = ["0", "2"], make_model(), data()
    exact = record(names, x, model, similarity=True)
    sketched = record(names, x, model, similarity=True, sketch_size=20)
    np.testing.assert_array_equal(sketched.cka(), exact.cka())


@pytest.mark.parametrize("n_components", [None, 5])
def test_spectra_do_not_see_the_sketch(n_components):
    model, x = wide_model(), data().double()
    params = {"n_components": n_components}
    plain = record(["0", "2"], x, model, **params)
    sketched = record(["0", "2"], x, model, similarity=True, sketch_size=8, **params)
    for name, spectrum in plain.spectra().items():
        found = sketched.spectrum(name)
        np.testing.assert_array_equal(found.eigenvalues, spectrum.eigenvalues)


def test_a_sketch_is_told_by_its_seed():
    model, x = wide_model(), data().double()
    params = {"similarity": True, "sketch_size": 16}
    first, second, other = (
        record(["0", "3"], x, model, random_state=i, **params).cka() for i in (0, 0, 1)
    )
    np.testing.assert_array_equal(first, second)
    assert first[0, 1] != other[0, 1]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: record([]), "layers is empty"),
        (lambda: record(["0", "0"]), "names a layer twice"),
        (lambda: record(["0", "7"]), r"layers=\['7'\] must be modules"),
        (lambda: record("0", n_components=0), "'n_components' parameter"),
        (lambda: record("0", n_components=3, similarity=True), "keeps too little"),
        (lambda: record("0", similarity=True, sketch_size=7), "'sketch_size' parameter"),
        (
            lambda: record("0", sketch_size=8),
            "sketch_size=8 can only be used with similarity=True",
        ),
        (lambda: record("0").spectrum("0"), "produced no output"),
        (lambda: record("0", n_components=3).spectrum("0"), "produced no output"),
        (lambda: record("0", data()).spectrum("1"), "layer='1' must be one of"),
        (lambda: record("0", data()).cka(), "similarity=False"),
        (lambda: record(LAYERS, similarity=True).cka(), "produced no output"),
        (
            lambda: record(
                ["layer", "other"], torch.ones(3, 4), model=Twice(), similarity=True
            ),
            "'layer' ran twice before 'other'",
        ),
    ],
)
def test_misuse_is_refused_with_the_reason(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_a_layer_that_runs_twice_counts_twice():
    recorder = record("layer", torch.randn(30, 4), model=Twice())
    assert recorder.spectrum("layer").n_samples == 60
    # The first of a tuple.
    assert record("", torch.randn(30, 4), model=Twice()).spectrum("").n_samples == 30


def test_what_is_no_model_is_refused():
    with pytest.raises(TypeError, match="'model' parameter"):
        ActivationRecorder(np.ones(3), "0")


def test_an_output_that_is_no_tensor_is_refused():
    class Dict(torch.nn.Module):
        def forward(self, x):
            return {"x": x}

    with pytest.raises(TypeError, match="returns dict"):
        record("", torch.ones(3, 4), model=Dict())


def test_a_recorder_is_not_entered_twice():
    model = torch.nn.Sequential(torch.nn.Linear(4, 8))
    recorder = ActivationRecorder(model, "0")
    with recorder, pytest.raises(RuntimeError, match="twice"), recorder:
        pass


@pytest.mark.parametrize("n_components", [2.5, "a"])
def test_a_number_of_components_is_an_integer(n_components):
    model = torch.nn.Sequential(torch.nn.Linear(4, 8))
    with pytest.raises(TypeError, match="n_components"):
        ActivationRecorder(model, "0", n_components=n_components)


def test_layers_are_given_by_name():
    model = torch.nn.Sequential(torch.nn.Linear(4, 8))
    with pytest.raises(TypeError, match="names"):
        ActivationRecorder(model, model[0])


class Checkpointed(nn.Module):
    """Computes its hidden layers once more in the backward pass."""

    def __init__(self, use_reentrant):
        super().__init__()
        self.body = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 5))
        self.use_reentrant = use_reentrant

    def forward(self, x):
        return checkpoint(self.body, x, use_reentrant=self.use_reentrant)


@pytest.mark.parametrize("use_reentrant", [False, True])
@pytest.mark.parametrize("similarity", [False, True])
def test_what_is_computed_again_for_gradients_does_not_count(use_reentrant, similarity):
    torch.manual_seed(0)
    model, x = Checkpointed(use_reentrant), torch.randn(20, 6, requires_grad=True)
    names = ["body.0", "body.2"]
    with ActivationRecorder(model, names, similarity=similarity) as recorder:
        for _ in range(2):
            model(x).square().sum().backward()
    for name in names:
        assert recorder.spectrum(name).n_samples == 40


@pytest.mark.filterwarnings("ignore:The PyTorch API of nested tensors:UserWarning")
@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("name", ["layers.0.linear1", "layers.0.self_attn", "layers.1"])
def test_padded_tokens_of_an_encoder_in_evaluation_are_left_out(name, masked):
    torch.manual_seed(0)
    layer = nn.TransformerEncoderLayer(16, 2, 32, batch_first=True)
    model = nn.TransformerEncoder(layer, 2).eval()
    x, padding = torch.randn(3, 7, 16), torch.zeros(3, 7, dtype=torch.bool)
    padding[0, 5:] = padding[1, 3:] = True
    with torch.no_grad():
        before = model(x, src_key_padding_mask=padding)
        with ActivationRecorder(model, name) as recorder:
            recorder.mask = ~padding if masked else None
            after = model(x, src_key_padding_mask=padding)
            assert recorder.spectrum(name).n_samples == 15
            recorder.mask = torch.ones(21)
            with pytest.raises(ValueError, match=r"nested .* \(3, n_tokens\) is expected"):
                model(x, src_key_padding_mask=padding)
    torch.testing.assert_close(after, before)


@pytest.mark.parametrize("unit", [1e-30, 1e25])
@pytest.mark.parametrize("n_components", [None, 3])
def test_units_do_not_matter(unit, n_components):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 5))
    options = {"n_components": n_components, "similarity": n_components is None}
    found = []
    for scale in (1.0, unit):
        module = copy.deepcopy(model)
        with torch.no_grad():
            module[2].weight.mul_(scale)
            module[2].bias.mul_(scale)
        generator = torch.Generator().manual_seed(1)
        with ActivationRecorder(module, ["0", "2"], **options) as recorder:
            for _ in range(3):
                module(torch.randn(50, 6, generator=generator))
        found.append(recorder)
    one, other = (recorder.spectrum("2") for recorder in found)
    np.testing.assert_allclose(other.eigenvalues / unit**2, one.eigenvalues, rtol=1e-4)
    np.testing.assert_allclose(other.effective_rank, one.effective_rank, rtol=1e-5)
    if n_components is None:
        np.testing.assert_allclose(found[1].cka(), found[0].cka(), rtol=1e-5)


def test_a_layer_that_is_constant_is_similar_to_nothing():
    model = nn.Sequential(nn.Linear(6, 8), nn.ReLU())
    with torch.no_grad():
        model[0].bias.fill_(-100.0)
    with ActivationRecorder(model, ["0", "1"], similarity=True) as recorder:
        model(torch.randn(30, 6))
    for debiased in (False, True):
        found = recorder.cka(debiased=debiased)
        np.testing.assert_allclose(found, [[1.0, 0.0], [0.0, 0.0]], atol=1e-5)


@pytest.mark.skipif(not hasattr(torch.compiler, "set_stance"), reason="needs torch 2.6")
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("in_place", [False, True])
def test_compiled_models_are_recorded(in_place):
    torch.compiler.reset()
    model = nn.Sequential(nn.Linear(6, 8), nn.ReLU())
    name = "0"
    if in_place:
        model.compile(backend="eager")
    else:
        model, name = torch.compile(model, backend="eager"), "_orig_mod.0"
    x = torch.randn(20, 6)
    before = model(x)
    with ActivationRecorder(model, name) as recorder:
        torch.testing.assert_close(model(x), before)
    model(x)
    assert recorder.spectrum(name).n_samples == 20
