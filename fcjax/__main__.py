"""`python -m fcjax` is the command `fcjax`."""

from .cli import main

main()
