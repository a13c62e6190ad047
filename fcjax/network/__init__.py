"""Fully connected networks: parameters, the network as one function, and the textbook passes."""

from .arguments import check_network as check_network
from .layers import Layer as Layer, Params as Params, init as init, sizes_of as sizes_of
from .mlp import mlp as mlp
from .passes import (
    BackwardStep as BackwardStep,
    Cache as Cache,
    LayerCache as LayerCache,
    backward as backward,
    backward_steps as backward_steps,
    deltas as deltas,
    forward as forward,
)
from .stack import stack as stack, unstack as unstack
