"""The option `--device`."""

import jax


def use(device: str | None) -> None:
    """Let JAX use a kind of device alone; raise ValueError if there is none. None is any."""
    if device is None:
        return
    try:
        jax.config.update("jax_default_device", jax.devices(device)[0])
    except (RuntimeError, AssertionError) as error:
        found = ", ".join(sorted({d.platform for d in jax.devices()}))
        raise ValueError(f"device: there is no {device}; JAX has {found}") from error
