"""Self-attention on landmarks as a module."""

from numbers import Integral
from typing import Literal

import torch
from torch import nn

from ..._sklearn import Interval, StrOptions, validated
from ..._typing import Float, Int, Seed, Tensor
from ..attention.attention import METHODS, PINV, TOL, nystroem_attention


class NystroemAttention(nn.Module):
    """Multi-head self-attention whose cost is linear in the length of the sequence.

    Queries, keys and values are linear functions of the input. They go through
    `nystroem_attention`, and a depthwise convolution of the values is added. The output is
    not projected.

    Parameters
    ----------
    embed_dim : int
        Number of features of a token.
    num_heads : int
        Number of heads. It must divide `embed_dim`.
    n_landmarks : int, default=64
        Number of landmarks. Sequences of no more tokens get exact attention.
    conv_kernel_size : int or None, default=65
        Odd width of the convolution. None means no convolution.
    bias : bool, default=True
        Whether queries, keys and values have a bias.
    pinv : {"newton", "exact", "checkpoint"}, default="newton"
        How the landmarks' matrix is inverted, see `nystroem_attention`. Use "checkpoint"
        to reproduce a model with published weights.
    landmarks : {"segment-means", "kmeans", "rpcholesky"}, default="segment-means"
        How landmarks are chosen, see `nystroem_attention`.
    tol : float, default=None
        Tolerance of the inversion, see `nystroem_attention`.
    random_state : int or None, default=0
        Seed of "rpcholesky".

    Attributes
    ----------
    query, key, value : torch.nn.Linear
        Layers with weights of shape (embed_dim, embed_dim).
    conv : torch.nn.Conv2d
        The convolution, with weights of shape (num_heads, 1, conv_kernel_size, 1). It does
        not exist if `conv_kernel_size` is None.

    Raises
    ------
    ValueError
        If a parameter is out of range, if `num_heads` does not divide `embed_dim`, or if
        the width of the convolution is even.

    See Also
    --------
    nystroem_attention : The same as a function of queries, keys and values.

    Notes
    -----
    The parameters have the names and shapes of ``NystromformerSelfAttention`` in the
    transformers library, so that its state dict can be loaded.

    Examples
    --------
    >>> import torch
    >>> from sklearn_rnla.neural.torch import NystroemAttention
    >>> attention = NystroemAttention(32, 4, n_landmarks=16)
    >>> attention(torch.zeros(2, 100, 32)).shape
    torch.Size([2, 100, 32])
    """

    @validated(
        embed_dim=[Interval(Integral, 1, None, closed="left")],
        num_heads=[Interval(Integral, 1, None, closed="left")],
        n_landmarks=[Interval(Integral, 1, None, closed="left")],
        conv_kernel_size=[Interval(Integral, 1, None, closed="left"), None],
        pinv=PINV,
        landmarks=[StrOptions(set(METHODS))],
        tol=TOL,
        random_state=[Interval(Integral, 0, None, closed="left"), None],
    )
    def __init__(
        self,
        embed_dim: int,
        num_heads: int,
        *,
        n_landmarks: Int = 64,
        conv_kernel_size: Int | None = 65,
        bias: Tensor = True,
        pinv: Literal["newton", "exact", "checkpoint"] = "newton",
        landmarks: Literal["segment-means", "kmeans", "rpcholesky"] = "segment-means",
        tol: Float | None = None,
        random_state: Seed = 0,
    ) -> None:
        super().__init__()
        if embed_dim % num_heads:
            raise ValueError(f"{num_heads=} must divide {embed_dim=}.")
        if conv_kernel_size is not None and conv_kernel_size % 2 == 0:
            raise ValueError(f"{conv_kernel_size=} must be odd.")
        self.embed_dim = embed_dim
        self.num_heads = num_heads
        self.n_landmarks = n_landmarks
        self.pinv = pinv
        self.landmarks = landmarks
        self.tol = tol
        self.random_state = random_state
        self.query = nn.Linear(embed_dim, embed_dim, bias=bias)
        self.key = nn.Linear(embed_dim, embed_dim, bias=bias)
        self.value = nn.Linear(embed_dim, embed_dim, bias=bias)
        if conv_kernel_size is not None:
            self.conv = nn.Conv2d(
                num_heads, num_heads, (conv_kernel_size, 1), groups=num_heads, bias=False
            )

    def forward(
        self, x: torch.Tensor, mask: torch.Tensor | None = None, is_causal: bool = False
    ) -> torch.Tensor:
        """Attend.

        Parameters
        ----------
        x : tensor of shape (batch, n, embed_dim)
            Tokens.
        mask : tensor of shape (batch, n), default=None
            True, or 1, for tokens, false for padding: the opposite of torch's
            ``key_padding_mask``.
        is_causal : bool, default=False
            Refused where true.

        Returns
        -------
        tensor of shape (batch, n, embed_dim)
            Heads side by side, zero for padding.

        Raises
        ------
        ValueError
            Those of `nystroem_attention`, and for causal attention.
        TypeError
            When `is_causal` is not a bool.
        """
        if not isinstance(is_causal, bool):
            raise TypeError(
                "is_causal must be a bool. Self-attention takes one tensor and a mask, "
                "(x, mask), rather than (query, key, value)."
            )
        if is_causal:
            raise ValueError(
                "is_causal=True is not supported: landmarks cannot represent causal "
                "attention at a cost that is linear in the length of the sequence."
            )
        q, k, v = (self._heads(part(x)) for part in (self.query, self.key, self.value))
        conv = self.conv.weight[:, 0, :, 0] if hasattr(self, "conv") else None
        out = nystroem_attention(
            q,
            k,
            v,
            n_landmarks=self.n_landmarks,
            pinv=self.pinv,
            landmarks=self.landmarks,
            mask=mask,
            residual_conv=conv,
            tol=self.tol,
            random_state=self.random_state,
        )
        return out.transpose(-3, -2).flatten(-2)

    def _heads(self, x):
        return x.unflatten(-1, (self.num_heads, -1)).transpose(-3, -2)

    def extra_repr(self) -> str:
        """Return what `print` shows of the parameters."""
        return (
            f"{self.embed_dim}, {self.num_heads}, n_landmarks={self.n_landmarks}, "
            f"pinv={self.pinv!r}, landmarks={self.landmarks!r}"
        )
