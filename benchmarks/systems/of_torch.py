"""PyTorch, eager and compiled, on the device that it finds."""

import shutil
from itertools import pairwise

import torch
from torch import Tensor, nn

from ..networks import LEARNING_RATE, Network
from ..program import Program, Skip


def train(network: Network, compiled: bool = False, autocast: bool = False) -> Program:
    """The loop of PyTorch's tutorials with the fused optimizer; autocast is to bfloat16."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    torch.set_float32_matmul_precision("high" if device == "cuda" else "highest")  # as in JAX
    model = _model(network).to(device)
    optimizer = torch.optim.SGD(model.parameters(), LEARNING_RATE, fused=True)
    batches = [[torch.from_numpy(V).to(device) for V in batch] for batch in network.batches()]
    batches = [(X, y.long()) for X, y in batches]

    def loss(X: Tensor, y: Tensor) -> Tensor:
        with torch.autocast(device, torch.bfloat16, enabled=autocast):
            return nn.functional.cross_entropy(model(X), y)

    if compiled:
        if device == "cpu" and not (shutil.which("g++") or shutil.which("clang++")):
            raise Skip("torch.compile needs a C++ compiler")
        loss = torch.compile(loss)

    def step(X: Tensor, y: Tensor) -> Tensor:
        value = loss(X, y)
        optimizer.zero_grad()
        value.backward()
        optimizer.step()
        return value.detach()

    def run() -> list[Tensor]:
        losses = [step(X, y) for X, y in batches]
        if device == "cuda":
            torch.cuda.synchronize()
        return losses

    return Program(run, network.steps)


def _model(network: Network) -> nn.Sequential:
    layers = [nn.Linear(*shape) for shape in pairwise(network.sizes)]
    for layer, (w, b) in zip(layers, network.weights(), strict=True):
        layer.weight.data, layer.bias.data = torch.from_numpy(w.T.copy()), torch.from_numpy(b)
    return nn.Sequential(*[one for layer in layers for one in (layer, nn.ReLU())][:-1])
