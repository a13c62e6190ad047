"""The implementation of the command `fcjax`. Its options and its help are in `fcjax_cli`."""

from fcjax_cli import main as main
