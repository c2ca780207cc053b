"""Small networks of torch, and what tests of adapters do with them."""

import torch
from torch import nn

ROUNDING = {torch.float64: 1e-12, torch.float32: 1e-5, torch.bfloat16: 2e-2}


class Net(nn.Module):
    """Nested layers: two are of the same last name, and one stands in two places."""

    def __init__(self):
        super().__init__()
        self.first = nn.ModuleDict({"fc": nn.Linear(20, 30), "gate": nn.Linear(20, 30)})
        self.second = nn.ModuleDict({"fc": nn.Linear(30, 25, bias=False)})
        self.shared = nn.Linear(25, 25)
        self.again = self.shared
        self.head = nn.Linear(25, 3)

    def forward(self, x):
        x = torch.sigmoid(self.first["gate"](x)) * self.first["fc"](x)
        x = torch.tanh(self.second["fc"](x))
        return self.head(self.again(torch.relu(self.shared(x))))


def net(seed=0, dtype=torch.float64):
    torch.manual_seed(seed)
    return Net().to(dtype).requires_grad_(False)


def inputs(n=40, n_in=20, dtype=torch.float64):
    generator = torch.Generator().manual_seed(5)
    return torch.randn(n, n_in, generator=generator, dtype=torch.float64).to(dtype)


def train(module, n_steps=5):
    """Take a few large steps, so that adapters are far from their start."""
    trained = [p for p in module.parameters() if p.requires_grad]
    optimizer = torch.optim.SGD(trained, lr=0.5)
    for _ in range(n_steps):
        optimizer.zero_grad()
        module(inputs()).square().sum(dim=1).mean().backward()
        optimizer.step()


def assert_same(actual, desired, slack=1.0):
    limit = slack * ROUNDING[desired.dtype] * desired.abs().max().item()
    assert (actual - desired).abs().max().item() <= limit
