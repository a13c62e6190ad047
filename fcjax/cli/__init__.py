"""The command `fcjax`."""

from .main import main as main
