"""The settings of an audit, which a command hands to the process that it starts."""

import json
import os
from pathlib import Path
from typing import NamedTuple

VARIABLE = "FCJAX_AUDIT"


class Settings(NamedTuple):
    """The settings of an audit.

    Attributes:
        json: the file for the report as JSON.
        junit: the file for the report as JUnit XML.
        time_limit: seconds after which no further rule is checked.
        callbacks: whether the numbers of traced arguments are taken out by callbacks.
        expected: names of rules whose gradients are wrong on purpose.
        time_counts: whether the exit status is 2 if the time is over before all is checked. The
            plugin by itself leaves the status of pytest, whose own 2 means an interruption.
    """

    json: str | None = None
    junit: str | None = None
    time_limit: float = 300.0
    callbacks: bool = True
    expected: tuple[str, ...] = ()
    time_counts: bool = False

    @classmethod
    def given(cls) -> "Settings":
        """Return the settings in the environment."""
        return cls(**json.loads(os.environ.get(VARIABLE, "{}")))

    @property
    def files(self) -> tuple[Path | None, Path | None]:
        """The two files."""
        return (Path(self.json) if self.json else None, Path(self.junit) if self.junit else None)
