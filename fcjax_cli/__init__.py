"""The command `fcjax`: its options and its help, separate from fcjax so that JAX is not loaded."""

from .main import main as main
