"""What the command `fcjax` does; its options and its help are in `fcjax_cli`."""

from fcjax_cli import main as main
