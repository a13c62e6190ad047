"""Record a training run with MLflow, by a tracker of a dozen lines; W&B's is in the comments.

    pip install mlflow
    python examples/track_with_mlflow.py && mlflow ui

A tracker is a function of the end of an epoch, which `fit` calls. `end.settings` is what there is
to record of a run, and `end.numbers` what there is of an epoch.
"""

import jax
import jax.numpy as jnp
import mlflow
import optax

import fcjax


class Tracker:
    """Record the settings and each epoch in the active run of MLflow."""

    def __init__(self):
        self.knows_settings = False

    def __call__(self, end: fcjax.EpochEnd) -> None:
        if jax.process_index():  # of several processes, the first records
            return
        if not self.knows_settings:
            mlflow.log_params(end.settings)  # wandb.config.update(end.settings)
            self.knows_settings = True
        mlflow.log_metrics(end.numbers, step=end.epoch)  # wandb.log(end.numbers, step=end.epoch)


def loss(params, batch):
    x, y = batch
    return fcjax.half_squared_error(fcjax.mlp(params, x, activations="tanh"), y)


def main() -> None:
    x = jnp.linspace(-3.0, 3.0, 200)[:, None]
    rate = optax.cosine_decay_schedule(1e-2, decay_steps=7 * 30)
    with mlflow.start_run():  # wandb.init()
        fcjax.fit(
            fcjax.init(jax.random.key(0), (1, 32, 1)),
            (x, jnp.sin(x)),
            loss=loss,
            # the state of inject_hyperparams holds the learning rate, which is then recorded
            optimizer=optax.inject_hyperparams(optax.adam)(rate),
            epochs=30,
            batch_size=32,
            callbacks=Tracker(),
        )


if __name__ == "__main__":
    main()
