"""PyTorch, eager and compiled, on the device that it finds."""

import shutil
from collections.abc import Callable
from itertools import pairwise

import torch
from torch import Tensor, nn

from ..networks import LEARNING_RATE, Network
from ..program import Program, Skip


def eager(network: Network, autocast: bool = False) -> Program:
    """The training loop of PyTorch's tutorials, with the fused optimizer."""
    device = _device()
    model = _model(network).to(device)
    optimizer = torch.optim.SGD(model.parameters(), LEARNING_RATE, fused=True)
    loss = _loss(model, autocast)

    def step(X: Tensor, y: Tensor) -> Tensor:
        value = loss(X, y)
        optimizer.zero_grad()
        value.backward()
        optimizer.step()
        return value.detach()

    return _program(network, step)


def compiled(network: Network, autocast: bool = False) -> Program:
    """`torch.compile` of the network with its loss; the update stays as in `eager`."""
    if _device() == "cpu" and not (shutil.which("g++") or shutil.which("clang++")):
        raise Skip("torch.compile needs a C++ compiler")
    model = _model(network).to(_device())
    optimizer = torch.optim.SGD(model.parameters(), LEARNING_RATE, fused=True)
    loss = torch.compile(_loss(model, autocast))

    def step(X: Tensor, y: Tensor) -> Tensor:
        value = loss(X, y)
        optimizer.zero_grad()
        value.backward()
        optimizer.step()
        return value.detach()

    return _program(network, step)


def _device() -> str:
    return "cuda" if torch.cuda.is_available() else "cpu"


def _model(network: Network) -> nn.Sequential:
    layers = [nn.Linear(*shape) for shape in pairwise(network.sizes)]
    for layer, (w, b) in zip(layers, network.weights(), strict=True):
        layer.weight.data = torch.from_numpy(w.T.copy())
        layer.bias.data = torch.from_numpy(b)
    hidden = [module for layer in layers[:-1] for module in (layer, nn.ReLU())]
    return nn.Sequential(*hidden, layers[-1])


def _loss(model: nn.Module, autocast: bool) -> Callable[[Tensor, Tensor], Tensor]:
    def loss(X: Tensor, y: Tensor) -> Tensor:
        with torch.autocast(_device(), torch.bfloat16, enabled=autocast):
            return nn.functional.cross_entropy(model(X), y)

    return loss


def _program(network: Network, step: Callable[[Tensor, Tensor], Tensor]) -> Program:
    device = _device()
    batches = [
        (torch.from_numpy(X).to(device), torch.from_numpy(y).long().to(device))
        for X, y in network.batches()
    ]

    def run() -> list[Tensor]:
        losses = [step(X, y) for X, y in batches]
        if device == "cuda":
            torch.cuda.synchronize()
        return losses

    return Program(run, network.steps)
