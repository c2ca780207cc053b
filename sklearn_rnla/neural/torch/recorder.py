"""Spectra and similarities of layers, summed up while the model runs."""

from contextlib import ExitStack
from functools import partial
from numbers import Integral
from typing import Any, Self

import numpy as np
import torch
from torch import nn

from ..._random import draw_seed, stream
from ..._sklearn import Interval, validated
from ..._typing import Array, Int, Seed
from ...operators import as_row_matrix
from ...operators.rows import in_unit
from ...operators.scaling import safe_exponent
from ..arrays import to_numpy
from ..representation.joint_moments import JointMoments, fold_joint
from ..representation.spectrum import (
    RepresentationSpectrum,
    spectrum_of_gram,
    spectrum_of_summary,
    summary_of,
    times_unit,
)

# Of fewer columns, a sketch is no more than noise.
_LEAST_SKETCH = 8


class ActivationRecorder:
    """Accumulates statistics of the outputs of layers while a model runs.

    A context manager. Inside of it, each forward pass of the model adds to the moments of
    the named layers; batches may have any size. On leaving, also by an exception, the
    hooks are removed and the moments are kept. Activations are not stored, outputs are
    detached, and no graph is kept. What gradient checkpointing computes once more in the
    backward pass does not count. Compiled models run without their compiled code.

    Parameters
    ----------
    model : torch.nn.Module
        The model that will run.
    layers : str or sequence of str
        Names of modules, as in ``model.named_modules()``. Each must return a tensor, or a
        tuple that starts with one.
    n_components : int, default=None
        None keeps all second moments of a layer: n_features x n_features numbers. An
        integer keeps about ``2 n_components + 32`` directions, as
        `RandomizedPCA.partial_fit` does, and yields that many eigenvalues.
    similarity : bool, default=False
        Whether to keep moments between all pairs of layers as well, which `cka` needs.
        Their number is the square of the number of all features together. Each layer must
        run once per forward pass, and `n_components` must be None unless there is a sketch.
    sketch_size : int, default=None
        For `similarity`: replace each layer that has more features than this by so many
        Gaussian combinations of its features. At least 8; None uses all features.
    center : bool, default=True
        Whether spectra are about the mean.
    feature_axis : int, default=-1
        Axis of the features. All other axes, of batches and tokens, become rows. Use 1
        for convolutions.
    random_state : int, RandomState instance, Generator or None, default=None
        Seed of the sketch.

    Attributes
    ----------
    mask : tensor or None
        Which outputs count: those where it is true, or not zero. Its shape is that of the
        outputs without the features. Set it before a forward pass; None counts all outputs.
        Padding that torch leaves out itself, by nested tensors, never counts.

    See Also
    --------
    sklearn_rnla.neural.representation_spectrum : Spectrum of stored activations.
    sklearn_rnla.neural.linear_cka : Similarity of stored activations.

    Notes
    -----
    With independent Gaussian S and T of l columns and variance 1 / l, ``||S^T C T||_F^2``
    has the expectation ``||C||_F^2``; with one of them on both sides of a matrix G it is
    ``(1 + 1 / l) ||G||_F^2 + tr(G)^2 / l``, and that of the squared trace is ``tr(G)^2 +
    2 ||G||_F^2 / l`` (second moments of a Wishart matrix). The ratio is solved for that of
    G.

    Examples
    --------
    >>> import torch
    >>> from sklearn_rnla.neural.torch import ActivationRecorder
    >>> _ = torch.manual_seed(0)
    >>> model = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.ReLU())
    >>> with ActivationRecorder(model, ["0", "1"], similarity=True) as recorder:
    ...     for _ in range(10):
    ...         _ = model(torch.randn(32, 4))
    >>> recorder.spectrum("0").n_samples, recorder.cka().shape
    (320, (2, 2))
    """

    @validated(
        model=[torch.nn.Module],
        n_components=[Interval(Integral, 1, None, closed="left"), None],
        sketch_size=[Interval(Integral, _LEAST_SKETCH, None, closed="left"), None],
    )
    def __init__(
        self,
        model: nn.Module,
        layers: Any,
        *,
        n_components: Int | None = None,
        similarity: bool = False,
        sketch_size: Int | None = None,
        center: bool = True,
        feature_axis: Any = -1,
        random_state: Seed = None,
    ) -> None:
        self.layers = _layer_names(model, layers)
        if sketch_size is not None and not similarity:
            raise ValueError(
                f"sketch_size={sketch_size} can only be used with similarity=True."
            )
        if similarity and n_components is not None and sketch_size is None:
            raise ValueError(
                f"n_components={n_components} keeps too little for similarity=True, which "
                "needs all second moments, n_components=None, or a sketch_size."
            )
        self.model = model
        self.n_components = n_components
        self.similarity = similarity
        self.sketch_size = sketch_size
        self.center = center
        self.feature_axis = feature_axis
        self.mask = None
        self._recording = None
        # What spectra come from, and what similarities do.
        self._summaries = dict.fromkeys(self.layers)
        self._exponents = {}
        self._joint = _Group(self.layers, sketch_size, random_state) if similarity else None
        if n_components is not None:
            self._moments = {}
        elif similarity and sketch_size is None:
            self._moments = dict.fromkeys(self.layers, self._joint)
        else:
            self._moments = {name: _Group([name]) for name in self.layers}

    def __enter__(self) -> Self:
        if self._recording is not None:
            raise RuntimeError(
                "The recorder is recording already, so that everything would count twice."
            )
        modules, recording = dict(self.model.named_modules()), ExitStack()
        if any(map(_is_compiled, modules.values())):
            # Compiled code calls no hooks that came later.
            if not hasattr(torch.compiler, "set_stance"):
                raise RuntimeError(
                    "Compiled models can be recorded with torch 2.6 or newer. Record the "
                    "model before it is compiled, or update torch."
                )
            recording.enter_context(torch.compiler.set_stance("force_eager"))
        recording.enter_context(self.model.register_forward_pre_hook(self._begin))
        for name in self.layers:
            hook = partial(self._record, name)
            recording.enter_context(modules[name].register_forward_hook(hook))
        self._recording = recording
        return self

    def __exit__(self, *exception: Any) -> None:
        self._recording.close()
        self._recording = None
        self._begin()

    def spectrum(self, layer: str) -> RepresentationSpectrum:
        """Return the spectrum of the outputs of a layer so far.

        Parameters
        ----------
        layer : str
            One of the layers recorded.

        Returns
        -------
        RepresentationSpectrum
            As of `representation_spectrum` of all rows at once.

        Raises
        ------
        ValueError
            When the layer was not recorded, or has not run.
        """
        if layer not in self.layers:
            raise ValueError(f"layer={layer!r} must be one of {self.layers}.")
        if self.n_components is None:
            group = self._moments[layer]
            moments = group.joint()
            gram = moments.second_moments(group.names.index(layer), center=self.center)
            found = spectrum_of_gram(gram, moments.n_samples, center=self.center)
        elif (summary := self._summaries[layer]) is not None:
            k = min(self.n_components, len(summary.mean))
            found = spectrum_of_summary(summary, k, center=self.center)
        else:
            raise ValueError(f"Layer {layer!r} has produced no output yet.")
        return times_unit(found, self._exponents.get(layer, 0))

    def spectra(self) -> dict[str, RepresentationSpectrum]:
        """Return the spectra of all layers.

        Returns
        -------
        dict of str to RepresentationSpectrum
            In the order of `layers`.
        """
        return {name: self.spectrum(name) for name in self.layers}

    def cka(self, *, debiased: bool = False) -> Array:
        """Return the centred kernel alignment of all pairs of layers.

        Parameters
        ----------
        debiased : bool, default=False
            Whether to return the debiased form of `linear_cka`.

        Returns
        -------
        ndarray of shape (n_layers, n_layers)
            Symmetric; exact without a sketch.

        Raises
        ------
        ValueError
            Without ``similarity=True``, or before the layers have run.
        """
        if not self.similarity:
            raise ValueError("similarity=False kept no moments between layers.")
        moments = self._joint.joint()
        n = len(self.layers)
        result = np.empty((n, n))
        for i in range(n):
            for j in range(i + 1):
                result[i, j] = result[j, i] = moments.cka(i, j)[int(debiased)]
        return result

    def _begin(self, *_):
        """Forget what a forward pass that did not come to its end has left."""
        for group in {*self._moments.values(), self._joint} - {None}:
            group.waiting.clear()

    def _record(self, name, module, inputs, output):
        # While gradients are computed, checkpointing runs layers once more.
        is_backward = torch._C._current_graph_task_id() != -1
        rows = () if is_backward else self._rows(output, name)
        if not len(rows):
            return
        rows = self._in_unit(name, rows)
        for group in {self._moments.get(name), self._joint} - {None}:
            group.add(name, rows)
        if self.n_components is not None:
            k = min(self.n_components, rows.shape[1])
            self._summaries[name] = summary_of(
                as_row_matrix(rows), k, center=self.center, summary=self._summaries[name]
            )

    def _in_unit(self, name, rows):
        """Return rows over a power of two, told by the first outputs that are not zero."""
        if name not in self._exponents:
            told = rows[rows.any(axis=1)]
            if not len(told):
                return rows
            self._exponents[name] = safe_exponent(as_row_matrix(told))
        return in_unit(rows, self._exponents[name])

    def _rows(self, output, name):
        """Return an output as rows of features, those that the mask leaves."""
        x = output[0] if isinstance(output, tuple) else output
        if not isinstance(x, torch.Tensor):
            raise TypeError(
                f"Layer {name!r} returns {type(x).__name__}, but a tensor, or a tuple "
                "that starts with one, is expected."
            )
        mask = None if self.mask is None else torch.as_tensor(self.mask, device=x.device)
        if x.is_nested:
            x = self._rows_of_nested(x.detach(), mask, name)
        else:
            x = _masked(x.detach().movedim(self.feature_axis, -1), mask, name)
        if not len(x):
            return np.zeros((0, x.shape[1]))
        return to_numpy(x, f"the output of layer {name!r}", 2)

    def _rows_of_nested(self, x, mask, name):
        """Return the rows of samples of different lengths, which have no padding."""
        samples = [part.movedim(self.feature_axis % x.ndim - 1, -1) for part in x.unbind()]
        if mask is None:
            return torch.cat([_masked(part, None, name) for part in samples])
        if mask.ndim != 2 or len(mask) != len(samples):
            raise ValueError(
                f"mask has shape {tuple(mask.shape)}, but layer {name!r} returns nested "
                f"tensors, for which ({len(samples)}, n_tokens) is expected."
            )
        pairs = zip(samples, mask, strict=True)
        return torch.cat([_masked(part, own[: len(part)], name) for part, own in pairs])


def _masked(x, mask, name):
    """Return rows of features, those where the mask is true."""
    if mask is None:
        return x.reshape(-1, x.shape[-1])
    if mask.shape != x.shape[:-1]:
        raise ValueError(
            f"mask has shape {tuple(mask.shape)}, but the outputs of layer {name!r} have "
            f"{tuple(x.shape[:-1])} beside their features."
        )
    return x[mask.bool()]


class _Group:
    """Layers whose joint moments are kept, batch by batch."""

    def __init__(self, names, sketch_size=None, random_state=None):
        self.names = list(names)
        self.waiting = {}
        self._sketch_size, self._seed = sketch_size, draw_seed(random_state)
        self._sketches = {}
        self._state = self._shift = None

    def add(self, name, rows):
        """Take the rows of a layer; when those of all have come, add them up."""
        if name in self.waiting:
            missing = next(n for n in self.names if n not in self.waiting)
            raise ValueError(
                f"Layer {name!r} ran twice before {missing!r} ran once, but "
                "similarity=True needs each layer once a forward pass."
            )
        if self._sketch_size is not None and rows.shape[1] > self._sketch_size:
            rows = rows @ self._sketch(name, rows)
        elif len(self.names) > 1:
            # What comes next in the model may write to the output.
            rows = rows.copy()
        self.waiting[name] = rows
        if len(self.waiting) == len(self.names):
            parts = [self.waiting[name] for name in self.names]
            self.waiting.clear()
            self._add_up(parts)

    def _sketch(self, name, rows):
        if name not in self._sketches:
            rng = stream(self._seed, self.names.index(name))
            sketch = rng.standard_normal((rows.shape[1], self._sketch_size), np.float32)
            sketch /= np.float32(self._sketch_size**0.5)
            self._sketches[name] = sketch.astype(rows.dtype, copy=False)
        return self._sketches[name]

    def _add_up(self, parts):
        counts = {name: len(p) for name, p in zip(self.names, parts, strict=True)}
        if len(set(counts.values())) > 1:
            raise ValueError(
                f"Layers differ in their numbers of rows: {counts}. Where some leave out "
                "padding, set mask, so that the others do."
            )
        if self._shift is None:
            means = [part.mean(axis=0) for part in parts]
            self._shift, self._widths = np.concatenate(means), [len(mean) for mean in means]
        self._state = fold_joint(self._state, parts, self._shift)

    def joint(self):
        """Return the moments of all the rows that came."""
        if self._state is None:
            raise ValueError(f"Layers {self.names} have produced no output yet.")
        return JointMoments.of_state(
            self._state,
            widths=self._widths,
            dtype=self._shift.dtype,
            sketch_sizes=[
                self._sketch_size if name in self._sketches else None for name in self.names
            ],
        )


def _is_compiled(module):
    """Whether a module is compiled, as a whole or by its own `compile`."""
    return "_orig_mod" in module._modules or module._compiled_call_impl is not None


def _layer_names(model, layers):
    """Return the names as a list, or raise where the model has no such modules."""
    if isinstance(layers, torch.nn.Module):
        raise TypeError("layers must be names, as in model.named_modules(), not modules.")
    names = [layers] if isinstance(layers, str) else list(layers)
    if not names:
        raise ValueError("layers is empty: nothing to record.")
    if len(set(names)) < len(names):
        raise ValueError(f"layers={names} names a layer twice.")
    known = [name for name, _ in model.named_modules()]
    unknown = [name for name in names if name not in known]
    if unknown:
        raise ValueError(f"layers={unknown} must be modules of the model: {known}.")
    return names
