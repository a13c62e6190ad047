"""A run as files of TensorBoard."""

import json
import os
import time
from collections.abc import Mapping
from typing import Any

from .._files import checked_path
from ..distributed import is_first_process
from ..train import EpochEnd
from .settings import checked_settings, plain


class TensorBoard:
    """A callback of `fit` that writes each epoch for TensorBoard: `tensorboard --logdir FOLDER`.

    Every figure is a scalar of its name, and so are `seconds` and, if the optimizer's state holds
    it, `learning_rate`. The settings are a text. A run that is resumed from a checkpoint goes on in
    the folder, and TensorBoard shows the epochs that it repeats once. A run that begins anew needs
    a folder of its own, or TensorBoard shows the last one alone. Of several processes, the first
    writes. Needs the extra `fcjax[tensorboard]`.

    Args:
        folder: the folder of the run, which is made if need be.
        settings: what the text has besides the arguments of `fit`.

    Raises:
        ImportError: tensorboardX is not installed.
        TypeError: `folder` is not a path, or `settings` are not a dict.
        NotADirectoryError: `folder` is a file.

    >>> import tempfile
    >>> from fcjax import EpochEnd, init_state
    >>> import jax.numpy as jnp, optax
    >>> folder = tempfile.mkdtemp()
    >>> track = TensorBoard(folder)  # for fit(callbacks=track)
    >>> track(EpochEnd(1, init_state({"w": jnp.ones(2)}, optax.sgd(0.1)), {"loss": 0.5}, 0.2))
    >>> track.close()
    >>> len(os.listdir(folder))
    1
    """

    def __init__(self, folder: str | os.PathLike[str], settings: Mapping[str, Any] | None = None):
        """Check the arguments; nothing is written before the end of the first epoch."""
        try:
            from tensorboardX import SummaryWriter
        except ImportError as error:
            raise ImportError(
                "TensorBoard's files are written with tensorboardX: "
                "pip install 'fcjax[tensorboard]'"
            ) from error
        self._folder = checked_path("folder", folder)
        if self._folder.exists() and not self._folder.is_dir():
            raise NotADirectoryError(f"folder must be a folder, got the file {str(folder)!r}")
        self._settings = checked_settings(settings)
        self._make, self._writer, self._epoch = SummaryWriter, None, 0

    def __call__(self, end: EpochEnd) -> None:
        """Write the end of an epoch."""
        if not is_first_process():
            return
        if end.epoch <= self._epoch:  # another call of `fit` begins anew
            self.close()
        if self._writer is None:
            self._writer = self._begun(end)
        self._epoch = end.epoch
        for name, value in end.numbers.items():
            self._writer.add_scalar(name, value, end.epoch)
        self._writer.flush()

    def _begun(self, end: EpochEnd) -> Any:
        writer = self._make(
            str(self._folder),
            # what an earlier file of the folder has of this epoch and later ones is hidden
            purge_step=end.epoch,
            flush_secs=1,
            # two files of the same second would have the same name, and the first would be lost
            filename_suffix=f".{time.time_ns()}",
        )
        settings = json.dumps(plain({**end.settings, **self._settings}), indent=2)
        writer.add_text("settings", f"```json\n{settings}\n```", end.epoch)
        return writer

    def close(self) -> None:
        """Write what is left, and close the file. The end of the program does so too."""
        if self._writer is not None:
            self._writer.close()
            self._writer = None

    def __repr__(self) -> str:
        return f"TensorBoard({str(self._folder)!r})"
