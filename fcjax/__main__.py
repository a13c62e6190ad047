"""`python -m fcjax` is the command `fcjax`."""

from fcjax_cli import main

main()
