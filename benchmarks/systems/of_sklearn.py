"""scikit-learn."""

import os

from sklearn.neural_network import MLPClassifier

from ..networks import LEARNING_RATE, Network
from ..program import Program, Skip


def partial_fit(network: Network) -> Program:
    """One pass over the data per call, plain gradient descent, weights of its own."""
    if os.environ.get("BENCH_PLATFORM", "cpu") != "cpu":
        raise Skip("scikit-learn runs on the CPU")
    X, y = network.data()
    plain = {"solver": "sgd", "momentum": 0, "nesterovs_momentum": False, "alpha": 0}
    options = {"learning_rate_init": LEARNING_RATE, "batch_size": network.batch, "shuffle": False}
    model = MLPClassifier(network.sizes[1:-1], **plain, **options)

    def run() -> list[float]:
        model.partial_fit(X, y, classes=range(network.sizes[-1]))
        return [model.loss_]

    return Program(run, network.steps, comparable=False)
