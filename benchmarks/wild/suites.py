"""Published test suites, whose hand-written rules `make wild` audits."""

from typing import NamedTuple


class Suite(NamedTuple):
    """The tests of a package.

    Attributes:
        package: the name by which pip installs it.
        paths: the tests, in its source distribution, or in the installed package.
        is_installed: whether the tests are part of the installed package.
        options: options of pytest.
        needs: what else the tests need, as pip spells it, for them alone.
        seconds: when no further test starts.
    """

    package: str
    paths: tuple[str, ...]
    is_installed: bool = True
    options: tuple[str, ...] = ()
    needs: tuple[str, ...] = ()
    seconds: int = 120


SUITES = (
    Suite("optax", ("optax/losses", "optax/projections", "optax/perturbations")),
    Suite("rlax", ("rlax/_src",)),
    Suite("distrax", ("distrax/_src/distributions", "distrax/_src/utils")),
    Suite("e3nn-jax", ("tests",), is_installed=False),
    Suite("interpax", ("tests",), is_installed=False),
    Suite("brax", ("brax/math_test.py", "brax/base_test.py", "brax/positional", "brax/spring")),
    Suite("flax", ("tests/nnx/transforms_test.py",), is_installed=False),
    Suite("tinygp", ("tests",), is_installed=False),
    Suite(
        "matfree",
        ("tests/test_decomp", "tests/test_lstsq.py"),
        is_installed=False,
        needs=("pytest<9", "pytest-cases<4"),
    ),
    Suite("numpyro", ("test/test_distributions_util.py", "test/test_util.py"), is_installed=False),
    Suite(
        "tokamax",
        ("tokamax/_src/ops/normalization", "tokamax/_src/ops/gated_linear_unit"),
        options=("-o", "python_files=*_test.py"),
    ),
)
