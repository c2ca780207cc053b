"""Attention on landmarks: tensors, gradients and the module."""

import numpy as np
import pytest

from sklearn_rnla.neural import attention_error, nystroem_attention

torch = pytest.importorskip("torch")

from torch.nn.functional import scaled_dot_product_attention  # noqa: E402

from sklearn_rnla.neural.attention.pseudo_inverse import newton_pinv  # noqa: E402
from sklearn_rnla.neural.attention.softmax import Tensors  # noqa: E402
from sklearn_rnla.neural.torch import NystroemAttention  # noqa: E402

METHODS = ["segment-means", "kmeans", "rpcholesky"]


def heads(seed, *shape, dtype=torch.float64):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(3, *shape, generator=generator, dtype=dtype).unbind()


@pytest.mark.parametrize("pinv", ["newton", "exact", "checkpoint"])
@pytest.mark.parametrize("landmarks", [*METHODS, np.arange(7)])
@pytest.mark.parametrize("shape", [(40, 5), (2, 40, 5), (2, 3, 41, 5), (2, 1, 3, 41, 5)])
def test_tensors_give_the_numbers_of_arrays(shape, landmarks, pinv):
    q, k, v = heads(0, *shape)
    params = {"landmarks": landmarks, "n_landmarks": 7, "pinv": pinv, "random_state": 0}
    if len(shape) > 2:
        params["mask"] = torch.ones(2, shape[-2], dtype=torch.bool)
        params["mask"][1, 30:] = False
    if len(shape) == 4:
        params["residual_conv"] = torch.ones(3, 5, dtype=torch.float64)
    out = nystroem_attention(q, k, v, **params)
    params = {
        name: value.numpy() if isinstance(value, torch.Tensor) else value
        for name, value in params.items()
    }
    expected = nystroem_attention(*(x.numpy() for x in (q, k, v)), **params)
    assert out.dtype == q.dtype
    np.testing.assert_allclose(out.numpy(), expected, rtol=0, atol=1e-10)


def test_as_many_landmarks_as_tokens_give_exact_attention(seed):
    q, k, v = heads(seed, 2, 3, 20, 6)
    expected = scaled_dot_product_attention(q, k, v)
    for params in ({"n_landmarks": 20}, {"landmarks": torch.arange(20), "pinv": "exact"}):
        out = nystroem_attention(q, k, v, **params)
        torch.testing.assert_close(out, expected, rtol=0, atol=1e-8)
    assert np.all(attention_error(out, q, k, v) < 1e-8)


@pytest.mark.parametrize(
    ("landmarks", "pinv"),
    [
        *((landmarks, "newton") for landmarks in [*METHODS, [1, 3, 5]]),
        ("segment-means", "exact"),
        ("segment-means", "checkpoint"),
    ],
)
def test_gradient_is_that_of_differences(landmarks, pinv):
    tensors = [x.requires_grad_() for x in heads(0, 1, 2, 7, 2)]
    conv = torch.randn(2, 3, dtype=torch.float64, requires_grad=True)
    mask = torch.arange(7)[None] < 6

    def of(q, k, v, conv):
        return nystroem_attention(
            q,
            k,
            v,
            n_landmarks=3,
            landmarks=landmarks,
            pinv=pinv,
            mask=mask,
            residual_conv=conv,
            random_state=0,
        )

    assert torch.autograd.gradcheck(of, (*tensors, conv), fast_mode=True)


def test_gradient_is_finite_with_padding_and_singular_landmarks():
    q, k, v = heads(0, 3, 2, 20, 4, dtype=torch.float32)
    k[0] = 0
    q, k, v = (x.requires_grad_() for x in (q, k, v))
    mask = torch.ones(3, 20, dtype=torch.bool)
    mask[1] = False
    mask[2, 3:] = False
    nystroem_attention(q, k, v, n_landmarks=5, mask=mask, tol=1e-7).sum().backward()
    for x in (q, k, v):
        assert torch.isfinite(x.grad).all()
        assert (x.grad[1] == 0).all()


def test_gradient_through_the_fall_back_is_finite():
    A = torch.softmax(torch.randn(2, 8, 8, generator=torch.Generator().manual_seed(0)), -1)
    A[0] = 1 / 8
    A.requires_grad_()
    newton_pinv(Tensors(), A, 1e-7).sum().backward()
    assert torch.isfinite(A.grad).all()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_computed_in_single(dtype):
    q, k, v = (x.to(dtype) for x in heads(0, 2, 3, 50, 8))
    out = nystroem_attention(q, k, v, n_landmarks=9)
    single = nystroem_attention(*(x.float() for x in (q, k, v)), n_landmarks=9)
    assert out.dtype == dtype
    torch.testing.assert_close(out, single.to(dtype))


def test_autocast_does_not_reach_the_inverse():
    q, k, v = heads(0, 2, 3, 50, 8, dtype=torch.float32)
    with torch.autocast("cpu", torch.bfloat16):
        out = nystroem_attention(q, k, v, n_landmarks=9)
    torch.testing.assert_close(out, nystroem_attention(q, k, v, n_landmarks=9))


def test_arrays_and_tensors_do_not_mix():
    q, k, v = heads(0, 20, 4)
    with pytest.raises(TypeError, match="q, k are torch tensors, but v are not"):
        nystroem_attention(q, k, v.numpy())


def test_bad_tensors_are_refused():
    q, k, v = heads(0, 20, 4)
    with pytest.raises(TypeError, match="floating point"):
        nystroem_attention(q, k, torch.ones(20, 4, dtype=torch.int64))
    with pytest.raises(ValueError, match="NaN"):
        nystroem_attention(q, k, torch.where(v > 1, torch.nan, v))
    with pytest.raises(ValueError, match="no entry"):
        nystroem_attention(q, k, v[:, :0])
    with pytest.raises(ValueError, match="from 0"):
        nystroem_attention(q, k, v, landmarks=torch.tensor([20]))


def test_module_is_the_function_between_linear_maps(seed):
    torch.manual_seed(seed)
    attention = NystroemAttention(12, 3, n_landmarks=5, conv_kernel_size=3)
    x = torch.randn(2, 33, 12)
    mask = torch.arange(33) < torch.tensor([[33], [21]])
    q, k, v = (
        part(x).reshape(2, 33, 3, 4).swapaxes(1, 2)
        for part in (attention.query, attention.key, attention.value)
    )
    expected = nystroem_attention(
        q,
        k,
        v,
        n_landmarks=5,
        mask=mask,
        residual_conv=attention.conv.weight.reshape(3, 3),
    )
    out = attention(x, mask)
    torch.testing.assert_close(out, expected.swapaxes(1, 2).reshape(2, 33, 12))
    torch.testing.assert_close(attention(x[1:, :21]), out[1:, :21], rtol=1e-4, atol=1e-5)
    out.sum().backward()
    assert all(torch.isfinite(p.grad).all() for p in attention.parameters())


def test_module_trains_under_autocast():
    torch.manual_seed(0)
    attention = NystroemAttention(8, 2, n_landmarks=4, conv_kernel_size=None)
    with torch.autocast("cpu", torch.bfloat16):
        out = attention(torch.randn(2, 17, 8))
    assert out.dtype == torch.bfloat16
    out.float().sum().backward()
    assert all(torch.isfinite(p.grad).all() for p in attention.parameters())


def test_module_in_half_precision():
    attention = NystroemAttention(8, 2, n_landmarks=4, conv_kernel_size=3).bfloat16()
    out = attention(torch.randn(2, 17, 8).bfloat16())
    assert out.dtype == torch.bfloat16
    assert torch.isfinite(out).all()


def test_module_refuses_what_it_cannot_do():
    with pytest.raises(ValueError, match="divide"):
        NystroemAttention(10, 3)
    with pytest.raises(ValueError, match="odd"):
        NystroemAttention(12, 3, conv_kernel_size=4)
    attention = NystroemAttention(12, 3, n_landmarks=4)
    x = torch.zeros(2, 20, 12)
    with pytest.raises(ValueError, match="causal"):
        attention(x, is_causal=True)
    with pytest.raises(ValueError, match="causal"):
        attention(x, torch.ones(20, 20, dtype=torch.bool).tril())


def test_parameters_have_the_names_of_checkpoints():
    state = NystroemAttention(12, 3, conv_kernel_size=5).state_dict()
    shapes = {name: tuple(value.shape) for name, value in state.items()}
    linear = {"weight": (12, 12), "bias": (12,)}
    assert shapes == {
        **{f"{p}.{n}": s for p in ("query", "key", "value") for n, s in linear.items()},
        "conv.weight": (3, 1, 5, 1),
    }


@pytest.mark.parametrize("n_landmarks", [8, 48])
def test_numbers_are_those_of_the_reference_module(n_landmarks):
    nystromformer = pytest.importorskip(
        "transformers.models.nystromformer.modeling_nystromformer"
    )
    from transformers import NystromformerConfig

    config = NystromformerConfig(
        hidden_size=24,
        num_attention_heads=3,
        num_landmarks=n_landmarks,
        segment_means_seq_len=48,
        conv_kernel_size=5,
    )
    torch.manual_seed(0)
    theirs = nystromformer.NystromformerSelfAttention(config).eval()
    ours = NystroemAttention(
        24, 3, n_landmarks=n_landmarks, conv_kernel_size=5, pinv="checkpoint"
    )
    ours.load_state_dict(theirs.state_dict())
    x = 3 * torch.randn(2, 48, 24)
    with torch.no_grad():
        torch.testing.assert_close(ours(x), theirs(x)[0], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"num_heads": 0}, "'num_heads' parameter"),
        ({"num_heads": 3}, "num_heads=3 must divide embed_dim=8"),
        ({"n_landmarks": 0}, "'n_landmarks' parameter"),
        ({"conv_kernel_size": -3}, "'conv_kernel_size' parameter"),
        ({"conv_kernel_size": 4}, "conv_kernel_size=4 must be odd"),
        ({"pinv": "svd"}, "'pinv' parameter"),
        ({"landmarks": "random"}, "'landmarks' parameter"),
        ({"random_state": "a"}, "'random_state' parameter"),
    ],
)
def test_bad_parameters_of_the_module(params, message):
    with pytest.raises(ValueError, match=message):
        NystroemAttention(8, **({"num_heads": 2} | params))


def test_query_key_and_value_are_not_arguments():
    x = torch.zeros(2, 20, 8)
    with pytest.raises(TypeError, match="Self-attention takes one tensor"):
        NystroemAttention(8, 2, n_landmarks=4)(x, x, x)


def compiled(module, arguments):
    torch.compiler.reset()
    return torch.compile(module, backend="eager", fullgraph=True)


MODES = {
    "compile": compiled,
    "export": lambda module, arguments: torch.export.export(module, arguments).module(),
    "trace": torch.jit.trace,
    "vmap": lambda module, arguments: (
        lambda *given: torch.vmap(lambda *one: module(*(x[None] for x in one))[0])(*given)
    ),
}


# Of torch itself, in these modes.
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(
    ("options", "masked"),
    [
        ({}, False),
        ({"n_landmarks": 12, "tol": 1e-3}, True),
        ({"landmarks": "kmeans", "pinv": "exact"}, True),
    ],
)
def test_module_is_the_same_where_torch_sees_no_values(mode, options, masked):
    torch.manual_seed(0)
    module = NystroemAttention(16, 2, **{"n_landmarks": 10} | options).eval()
    first, second = torch.randn(2, 2, 60, 16)
    masks = torch.ones(2, 2, 60, dtype=torch.bool)
    # Full, half empty, fewer tokens than landmarks, none at all.
    masks[0, 1, 30:] = masks[1, 0, 5:] = masks[1, 1, :] = False
    arguments = [(first, masks[0]), (second, masks[1])]
    arguments = [given if masked else given[:1] for given in arguments]
    run = MODES[mode](module, arguments[0])
    with torch.no_grad():
        for given in arguments:
            torch.testing.assert_close(run(*given), module(*given), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("options", [{}, {"return_error": True}])
def test_what_numpy_computes_is_refused_where_torch_sees_no_values(options):
    q = torch.randn(3, 2, 30, 4)
    options = options or {"landmarks": "rpcholesky"}
    with pytest.raises(ValueError, match="numpy, which torch cannot compile"):
        torch.vmap(lambda q: nystroem_attention(q, q, q, n_landmarks=5, **options))(q)


def test_gradients_by_functional_transforms_are_those_of_autograd():
    torch.manual_seed(0)
    module, x = NystroemAttention(16, 2, n_landmarks=10), torch.randn(2, 60, 16)
    parameters = {name: value.detach() for name, value in module.named_parameters()}

    def loss(parameters):
        return torch.func.functional_call(module, parameters, (x,)).square().sum()

    found = torch.func.grad(loss)(parameters)
    module(x).square().sum().backward()
    for name, value in module.named_parameters():
        torch.testing.assert_close(found[name], value.grad, rtol=1e-3, atol=1e-4)
