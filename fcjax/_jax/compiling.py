"""Compile programs with chosen options of XLA."""

import functools
from collections.abc import Callable
from typing import Any, TypeVar

import jax

from .._types import Tree

R = TypeVar("R")
CompilerOptions = dict[str, Any]  # JAX's type for them has no integers

# Options of XLA that halve the compile time at the cost of slower programs: no LLVM optimizations,
# LLVM IR emitted directly rather than through MLIR, and small programs not split between threads.
# Some versions do not have them.
QUICK: CompilerOptions = {
    "xla_backend_optimization_level": 0,
    "xla_cpu_use_fusion_emitters": False,
    "xla_cpu_parallel_codegen_split_count": 1,
}


def compiled(program: Callable[..., R], *inputs: Tree, quickly: bool) -> Callable[..., R]:
    """Compile a program, with little optimization if it is called only a few times."""
    return jax.jit(program).lower(*inputs).compile(quick_options() if quickly else None)


@functools.cache
def quick_options() -> CompilerOptions | None:
    """Return the options in `QUICK` that this version of XLA has, None on other backends."""
    if jax.default_backend() != "cpu":
        return None
    return {name: value for name, value in QUICK.items() if _is_known({name: value})}


@functools.cache
def direct_options() -> CompilerOptions | None:
    """Return the option to emit LLVM IR directly, where it exists.

    It compiles in about 60% of the time, to programs that are about as fast.
    """
    options: CompilerOptions = {"xla_cpu_use_fusion_emitters": False}
    return options if jax.default_backend() == "cpu" and _is_known(options) else None


def _is_known(option: CompilerOptions) -> bool:
    try:
        jax.jit(lambda: 0).lower().compile(option)
    except jax.errors.JaxRuntimeError:
        return False
    return True
