"""What `fcjax._jax` relies on in JAX, a test for each thing; the messages say what has changed."""

import functools
import inspect
import re
import traceback
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax
from jax.experimental import hijax, io_callback, pallas
from jax.experimental.custom_partitioning import custom_partitioning
from jax.extend.core import Primitive
from jax.interpreters import batching
from jax.sharding import AxisType, NamedSharding, PartitionSpec as P

from fcjax import _jax
from fcjax._jax import (
    as_function,
    compiling,
    constants_in,
    equations_in,
    inline_calls,
    is_iterated_by_lapack,
    literals_of,
    messages,
    name_of,
    opened,
    original,
    rule_in,
    rules as rules_of_jax,
    without_logs_of_callbacks,
)

X = jnp.array([0.5, 1.0, 1.5])
needs_devices = pytest.mark.skipif(jax.device_count() < 4, reason="needs four devices")


def expect(holds, *what):
    assert holds, f"JAX {jax.__version__}: " + " ".join(map(str, what))


def names(f, *args):
    """The primitives of a function, those of inner programs included."""
    return [name_of(equation) for equation in equations_in(jax.make_jaxpr(f)(*args))]


def rules(f, *args):
    found = map(rule_in, equations_in(jax.make_jaxpr(f)(*args)))
    return [rule for rule in found if rule is not None]


def rule(f=jnp.sin, **options):
    """A function with a backward rule."""
    function = jax.custom_vjp(f)

    def f_fwd(x):
        return f(getattr(x, "value", x)), x

    def f_bwd(x, dy):
        return (dy,)

    function.defvjp(f_fwd, f_bwd, **options)
    return function


def line_of(function):
    return f"{__file__}:{inspect.getsourcelines(function)[1]}"


@jax.custom_jvp
def forward_rule(x):
    return jnp.sin(x)


@forward_rule.defjvp
def forward_rule_jvp(primals, tangents):
    return jnp.sin(*primals), tangents[0]


class Sine(getattr(hijax, "HiPrim", None) or hijax.VJPHiPrimitive):  # it has had two names
    """A rule that is a class."""

    def __init__(self, kind):
        self.in_avals, self.out_aval, self.params = (kind,), kind, {}
        super().__init__()

    def expand(self, x):
        return jnp.sin(x)

    def vjp_fwd(self, _, x):
        return self(x), x

    def vjp_bwd_retval(self, x, dy):
        return (dy * jnp.cos(x),)


def mesh(kind):
    return jax.make_mesh((4,), ("i",), axis_types=(kind,))


SPLIT, EVERYWHERE = P("i"), P()


def sharded(f, in_specs=SPLIT, out_specs=SPLIT, check_vma=True):
    options = {"in_specs": in_specs, "out_specs": out_specs, "check_vma": check_vma}
    return lambda x: jax.shard_map(f, mesh=mesh(AxisType.Auto), **options)(x)


INTERNALS = re.compile(
    r"jax\.(_src|core|extend|interpreters)\b|experimental\.layout|custom_[vj][jv]p_call|xla_"
    r"|\.(primitive|manual_axis_type|debug_info|source_info)\b|everse-mode"
)


def test_internals_of_jax_are_used_in_one_folder():
    home = Path(_jax.__file__).parent
    used = {
        (str(file.relative_to(home.parent)), found[0])
        for file in home.parent.rglob("*.py")
        for found in INTERNALS.finditer(file.read_text())
        if home not in file.parents
    }
    assert not used, "these belong into fcjax/_jax"


# --- programs -------------------------------------------------------------------------------------

PRIMITIVES = [
    ("jit", jax.jit(jnp.sin)),
    ("scan", lambda x: lax.scan(lambda c, _: (jnp.sin(c), None), x, length=2)),
    ("cond", lambda x: lax.cond(x[0] > 0, jnp.sin, jnp.cos, x)),
    ("cond", lambda x: lax.switch(x[0].astype(int), [jnp.sin, jnp.cos], x)),
    ("dot_general", lambda x: x @ x),
    ("stop_gradient", lax.stop_gradient),
    ("convert_element_type", lambda x: x.astype(int)),
    ("custom_vjp_call", lambda x: rule()(x)),
    ("custom_jvp_call", forward_rule),
]


flags_off = pytest.mark.parametrize("flags", [False], indirect=True, ids=[""])


@flags_off
@pytest.mark.parametrize(("name", "f"), PRIMITIVES, ids=[name for name, _ in PRIMITIVES])
def test_a_primitive_has_its_name(name, f, flags):
    found = names(f, X)
    expect(name in found, f"no primitive is called {name!r} any more; found {found}")


def test_rules_are_objects_with_the_flags(flags):
    if flags:
        found = names(rule(), X)
        expect(_jax.HIGH_CALL in found, f"{_jax.HIGH_CALL!r} is not how it calls rules:", found)


PARAMETERS = {
    "jit": ["jaxpr"],
    "scan": ["length"],
    "cond": ["branches"],
    "dot_general": ["dimension_numbers"],
    "custom_vjp_call": ["call_jaxpr", "bwd", "fwd_jaxpr_thunk", "num_consts", "symbolic_zeros"],
    "custom_jvp_call": ["call_jaxpr", "jvp_jaxpr_fun", "num_consts", "symbolic_zeros"],
}


@flags_off
@pytest.mark.parametrize("name", PARAMETERS)
def test_parameters_have_their_names(name, flags):
    equations = equations_in(jax.make_jaxpr(dict(PRIMITIVES)[name])(X))
    (params,) = [equation.params for equation in equations if name_of(equation) == name]
    missing = {*PARAMETERS[name]} - {*params}
    expect(not missing, f"{name!r} has no parameters {missing} any more, but {[*params]}")


def in_scan(f):
    return lambda x: lax.scan(lambda c, _: (f(c), None), x, length=2)[0]


def in_forward_rule(f):
    function = jax.custom_jvp(f)
    function.defjvp(lambda primals, tangents: (f(*primals), *tangents))
    return function


# each with a function inside of it, which maps an array of a shape to one of the same
PLACES = {
    "nothing": lambda f: f,
    "jit": jax.jit,
    "scan": in_scan,
    "while_loop": lambda f: lambda x: lax.while_loop(lambda c: c[0] > 0.5, f, x),
    "cond": lambda f: lambda x: lax.cond(x[0] > 0, f, jnp.cos, x),
    "checkpoint": jax.checkpoint,
    "custom_vjp": rule,
    "custom_jvp": in_forward_rule,
    "vmap of custom_vjp": lambda f: lambda x: jax.vmap(rule(f))(x[None])[0],
    "shard_map": lambda f: sharded(f, EVERYWHERE, EVERYWHERE),
}
each_place = pytest.mark.parametrize(
    "place",
    [
        pytest.param(place, marks=needs_devices if place == "shard_map" else (), id=place)
        for place in PLACES
    ],
)


@each_place
def test_inner_programs_are_found(place, flags):
    found = names(PLACES[place](jnp.tan), X)
    expect("tan" in found, f"the program inside of {place} is not found:", found)


@each_place
def test_constants_of_inner_programs_keep_their_identity(place, flags):
    of_jax, of_numpy, view = jnp.ones(3), np.ones(3, np.float32), np.ones(9, np.float32)[::3]
    program = jax.make_jaxpr(PLACES[place](lambda x: x * of_jax + of_numpy - view))(X)
    found = [original(constant) for constant in constants_in(program)]
    for kind, array in [("JAX", of_jax), ("NumPy", of_numpy), ("NumPy, a view", view)]:
        is_there = any(array is constant for constant in found)
        expect(is_there, f"an array of {kind} in {place} is copied:", *map(type, found))


@each_place
def test_rules_are_inlined(place, flags):
    of_jax, of_numpy = jnp.full(3, 0.5), np.full(3, 0.25, np.float32)
    f = PLACES[place](rule(lambda x: jnp.tan(x) * of_jax * of_numpy))
    program = jax.make_jaxpr(f)(X)
    changed = inline_calls(program, lambda equation, _: rule_in(equation) is not None)
    left = [found for found in map(rule_in, equations_in(changed)) if found]
    expect(not left, f"a rule in {place} is not inlined:", left)
    known = {*map(name_of, equations_in(program)), *names(jnp.tan, X)}
    new = {*map(name_of, equations_in(changed))} - known
    expect(not new, f"an inlined rule brings primitives with it: {new}")
    np.testing.assert_array_equal(jax.jit(as_function(changed))(X)[0], f(X))


@needs_devices
def test_a_rule_that_knows_its_mesh_is_inlined(flags):
    f = sharded(jax.vmap(rule(lambda x: x * lax.axis_index("i"))))
    changed = inline_calls(jax.make_jaxpr(f)(jnp.ones(8)), lambda e, _: rule_in(e) is not None)
    np.testing.assert_array_equal(as_function(changed)(jnp.ones(8))[0], [0, 0, 1, 1, 2, 2, 3, 3])


def test_only_calls_that_depend_on_chosen_inputs_are_inlined(flags):
    f = rule(jnp.tan)
    g = jax.jit(lambda x, y: (f(x), f(y), f(x) + y))
    program = jax.make_jaxpr(g)(X, X)
    changed = inline_calls(program, lambda e, _: rule_in(e) is not None, [True, False])
    left = [found for found in map(rule_in, equations_in(changed)) if found]
    expect(len(left) == 1, "a jit no longer has the inputs of its program:", left)


def test_a_program_is_evaluated():
    array = jnp.ones(3)
    program = jax.make_jaxpr(lambda x: jnp.sin(x * array))(X)
    np.testing.assert_array_equal(as_function(program)(X)[0], jnp.sin(X))
    np.testing.assert_array_equal(_jax.evaluate(program, [2 * array], [X])[0], jnp.sin(X * 2))
    product = opened(program).eqns[0].outvars
    np.testing.assert_array_equal(_jax.with_outputs(program, product)(X)[0], X)


@pytest.mark.parametrize("place", ["nothing", "jit", "scan", "cond"])
def test_constants_that_a_rule_closes_over_are_told_from_others(place, flags):
    inside, outside = jnp.ones(3), jnp.full(3, 2.0)
    f = rule(lambda x: x * inside)
    program = jax.make_jaxpr(PLACES[place](lambda x: f(x) * outside))(X)
    program = inline_calls(program, lambda equation, _: name_of(equation) in _jax.JIT)
    found = _jax.rule_constants(program)
    if any(constant is inside for constant in program.consts):  # before 0.12, the rule keeps it
        expect(id(inside) in found, f"a constant of a rule in {place} is not among its inputs")
    expect(id(outside) not in found, f"a rule in {place} has more constants than it closes over")


def test_what_an_equation_says_of_itself():
    w = jnp.ones((3, 5))
    (product,) = equations_in(jax.make_jaxpr(lambda x: x @ w)(X))
    expect(_jax.contracted_size(product) == 3, "dot_general has other parameters")
    literal = opened(jax.make_jaxpr(lambda x: x * 2)(X)).eqns[0].invars[1]
    expect(_jax.is_literal(literal), "a number in a program is no Literal")
    times = [*map(_jax.repetitions, equations_in(jax.make_jaxpr(in_scan(jnp.tan))(X)))]
    expect(times == [2, 1], "scan does not say its length:", times)
    branches = [jnp.sin, jnp.cos, jnp.tan]
    program = jax.make_jaxpr(lambda i, x: lax.switch(i, branches, x))(1, X)
    (cond,) = [e for e in equations_in(program) if name_of(e) == "cond"]
    expect(_jax.number_of_branches(cond) == 3, "cond does not say its branches")
    index = _jax.branch_index(cond)
    expect(index is not None, "it has another name than 'cond' for it")
    (value,) = _jax.with_outputs(program, [index])(1, X)
    expect(value.shape == () and value == 1, "the first input of cond is not the branch")
    assert _jax.branch_index(product) is None
    assert _jax.contracted_size(cond) is None
    loop = PLACES["while_loop"](jnp.tan)
    found = [*map(_jax.may_not_end, opened(jax.make_jaxpr(loop)(X)).eqns)]
    expect(found == [True], "while_loop is not called 'while'")


def test_the_iterations_of_lapack():
    def functions(x):
        linalg = jnp.linalg
        return linalg.eig(x), linalg.eigh(x), linalg.svd(x), jax.scipy.linalg.schur(x)

    found = equations_in(jax.make_jaxpr(functions)(jnp.eye(3)))
    assert sum(map(is_iterated_by_lapack, found)) == 4


def test_the_literals_of_an_equation():
    program = jax.make_jaxpr(lambda x, n: (jnp.maximum(x, 2.5) < 7.0, n + 3))(1.0, 2)
    found = [number for equation in equations_in(program) for number in literals_of(equation)]
    assert found == [2.5, 7.0]


def test_the_logs_of_callbacks_are_kept_quiet(caplog):
    def fails(x):
        raise ValueError("on purpose")

    def run():
        with pytest.raises(jax.errors.JaxRuntimeError, match="on purpose"):
            jax.block_until_ready(jax.jit(fails_in_callback)(jnp.ones(3)))

    def fails_in_callback(x):
        return jax.pure_callback(fails, x, x)

    with without_logs_of_callbacks():
        run()
    assert "on purpose" not in caplog.text
    run()
    assert "on purpose" in caplog.text


def test_an_equation_names_its_place_in_the_source():
    def f(x):
        return jnp.tan(x)

    (equation,) = opened(jax.make_jaxpr(f)(X)).eqns
    place = _jax.place_in_source(equation)
    want = f"{__file__}:{inspect.getsourcelines(f)[1] + 1}"
    expect(place == want, f"an equation comes from {want}, not {place!r}")


@pytest.mark.parametrize(
    ("lost", "f"),
    [
        ("lax.stop_gradient", lax.stop_gradient),
        ("conversion to int32", lambda x: x.astype(jnp.int32)),
    ],
    ids=["stop_gradient", "int"],
)
def test_lost_derivatives_are_found(lost, f, flags):
    for place in ["nothing", "jit", "custom_vjp", "custom_jvp", "vmap of custom_vjp"]:
        program = jax.make_jaxpr(PLACES[place](f))(X)
        found = [*_jax.lost_derivatives(program, [True])]
        expect(found == [lost], f"in {place}, {lost} is not found: {found}")
        assert not [*_jax.lost_derivatives(program, [False])]
    assert not [*_jax.lost_derivatives(jax.make_jaxpr(lambda x: x.astype(jnp.float16))(X), [True])]


# --- primitives of meshes, and those batched by hand ----------------------------------------------


def gathered(x):
    return lax.all_gather(x, "i", to="invarying")


def reduced(x):
    return lax.pcast(lax.pcast(x, "i", to="reduced"), "i", to="varying")


def sum_of_unreduced(x):
    return lax.psum(lax.pcast(x, "i", to="unreduced"), "i")


def scatter_of_unreduced(x):
    return lax.psum_scatter(lax.pcast(x.reshape(4, 1), "i", to="unreduced"), "i")


@custom_partitioning
def partitioned(x):
    return jnp.sin(x)


partitioned.def_partition(
    partition=lambda *args: None, infer_sharding_from_operands=lambda *args: None,
    sharding_rule="i j -> i j",
)  # fmt: skip


def ragged(x):
    sizes = [jnp.zeros(4, jnp.int32)] * 4
    return lax.ragged_all_to_all(x, x, *sizes, axis_name="i")


def placed(x):
    return lax.with_sharding_constraint(x, NamedSharding(mesh(AxisType.Auto), SPLIT))


def resharded(x):
    return jax.sharding.reshard(x, NamedSharding(mesh(AxisType.Explicit), SPLIT))


# by name, or by the names that different versions have for it: a program that makes the primitive
OF_A_MESH = {
    "shard_map": sharded(jnp.sin),
    "psum": sharded(lambda x: lax.psum(x, "i"), check_vma=False),
    "psum_invariant": sharded(lambda x: lax.psum(x, "i"), out_specs=EVERYWHERE),
    "pmax": sharded(lambda x: lax.pmax(x, "i"), out_specs=EVERYWHERE),
    "pmin": sharded(lambda x: lax.pmin(x, "i"), out_specs=EVERYWHERE),
    "all_gather": sharded(lambda x: lax.all_gather(x, "i")),
    "all_gather_invariant": sharded(gathered, out_specs=EVERYWHERE),
    "all_to_all": sharded(lambda x: lax.all_to_all(x, "i", 1, 0)),
    "ragged_all_to_all": sharded(ragged, check_vma=False),
    "ppermute": sharded(lambda x: lax.ppermute(x, "i", [(0, 1)])),
    "pbroadcast": sharded(lambda x: lax.pbroadcast(x, "i", 0)),
    "reduce_scatter": sharded(lambda x: lax.psum_scatter(x.reshape(4, 1), "i")),
    "axis_index": sharded(lambda x: x * lax.axis_index("i")),
    "pvary": sharded(lambda x: lax.pcast(x, "i", to="varying"), EVERYWHERE),
    "preduced": sharded(reduced, EVERYWHERE),
    "reduced_vary_cast or reduced_vary_cast_p": sharded(reduced, EVERYWHERE),
    "vary_unreduced_cast or vary_unreduced_cast_p": sharded(sum_of_unreduced, out_specs=EVERYWHERE),
    "unreduced_psum": sharded(sum_of_unreduced, out_specs=EVERYWHERE),
    "unreduced_reduce_scatter": sharded(scatter_of_unreduced),
    "sharding_constraint": placed,
    "reshard": resharded,
    "custom_partitioning": partitioned,
}


@needs_devices
@pytest.mark.parametrize("name", OF_A_MESH)
def test_a_primitive_of_meshes_has_its_name(name):
    found = names(OF_A_MESH[name], jnp.ones((4, 4)))
    expect({*name.split(" or ")} & {*found}, f"no primitive is called {name} any more:", found)


def test_every_name_of_the_meshes_is_known():
    known = {name for alternatives in OF_A_MESH for name in alternatives.split(" or ")}
    assert {*_jax.MESH_PRIMITIVES} == known


@jax.custom_batching.custom_vmap
def batched(x):
    return jnp.sin(x)


batched.def_vmap(lambda size, is_batched, x: (jnp.sin(x), True))


def doubled(x, out):
    out[...] = 2 * x[...]


KIND = jax.ShapeDtypeStruct((3,), jnp.float32)
BY_HAND = {
    "custom_vmap_call": batched,
    "custom_partitioning": lambda x: partitioned(x[None]),
    "ffi_call": jax.ffi.ffi_call("unknown", KIND),
    "io_callback": lambda x: io_callback(np.sin, KIND, x),
    "pure_callback": lambda x: jax.pure_callback(np.sin, KIND, x),
    "pallas_call": pallas.pallas_call(doubled, KIND, interpret=True),
    "call_hi_primitive": lambda x: Sine(jax.typeof(x))(x),
}


@pytest.mark.parametrize("name", BY_HAND)
def test_a_primitive_that_is_batched_by_hand_has_its_name(name):
    found = {
        name_of(equation)
        for equation in equations_in(jax.make_jaxpr(BY_HAND[name])(X))
        if _jax.is_batched_by_hand(equation)
    }
    expect(found == {name}, f"no primitive is called {name!r} any more; found {found}")


def test_every_name_of_those_batched_by_hand_is_known():
    assert {*rules_of_jax.BATCHED_BY_HAND} == {*BY_HAND}


def test_a_batching_rule_is_told_from_those_of_jax():
    own = Primitive("own")
    own.def_abstract_eval(lambda x: x)
    batching.primitive_batchers[own] = lambda args, dims: (own.bind(*args), *dims)
    (equation,) = equations_in(jax.make_jaxpr(own.bind)(X))
    expect(_jax.is_batched_by_hand(equation), "the batching rule of a primitive is not found")
    for f in (jnp.sin, lambda x: x[0], in_scan(jnp.tan), jax.jit(jnp.sort), jax.random.normal):
        args = [jax.random.key(0)] if f is jax.random.normal else [X]
        equations = equations_in(jax.make_jaxpr(f)(*args))
        found = [name_of(equation) for equation in equations if _jax.is_batched_by_hand(equation)]
        expect(not found, f"its own batching rules are taken for others: {found}")


# --- hand-written rules ---------------------------------------------------------------------------


def affine_rule():
    """A rule of two arguments that closes over an array."""
    one = jnp.ones(3)

    @jax.custom_vjp
    def affine(x, w):
        return x * w + one

    def affine_fwd(x, w):
        return x * w + one, (x, w)

    def affine_bwd(kept, dy):
        return dy * kept[1], dy * kept[0]

    affine.defvjp(affine_fwd, affine_bwd)
    return affine, affine_bwd


@pytest.mark.parametrize("place", ["nothing", "jit", "scan", "cond", "checkpoint"])
def test_a_rule_is_described(place, flags):
    affine, affine_bwd = affine_rule()
    f = PLACES[place](lambda x: affine(x, x))
    (found,) = rules(f, X)
    expect(found.name == "affine", f"the name of the function is not found, but {found.name!r}")
    expect(found.source == line_of(affine_bwd), f"the backward function is not at {found.source!r}")
    expect(not found.is_jaxs_own, "a rule of ours is taken for one of JAX")
    expect(found.is_backward and not found.sees_zeros, f"it is taken for another kind: {found}")
    expect(found.arguments == ("float32[3]", "float32[3]"), f"arguments are {found.arguments}")
    expect(found.constants in (0, 1), f"it has {found.constants} constants")


def test_the_constants_of_a_rule_are_its_first_inputs(flags):
    inside = jnp.ones(3)
    f = rule(lambda x: x * inside)
    program = jax.make_jaxpr(f)(X)
    (equation,) = opened(program).eqns
    number = len(equation.invars) - 1
    expect(rule_in(equation).constants == number, f"a rule has {number} constants before its input")


def test_a_rule_under_vmap_is_described(flags):
    affine, affine_bwd = affine_rule()
    for mapped, kinds in [
        (jax.vmap(affine), ("float32[2,3]", "float32[2,3]")),
        (jax.vmap(jax.vmap(affine)), ("float32[2,2,3]", "float32[2,2,3]")),
    ]:
        x = jnp.ones([int(n) for n in kinds[0][8:-1].split(",")])
        (found,) = rules(mapped, x, x)
        expect(found.name == "affine" and found.source == line_of(affine_bwd), "vmap hides", found)
        expect(found.arguments == kinds, f"under vmap arguments are {found.arguments}")


def test_a_forward_rule_is_described(flags):
    (found,) = rules(forward_rule, X)
    expect(found.name == "forward_rule", f"the name of the function is not found: {found.name!r}")
    expect(found.source == line_of(forward_rule_jvp), f"its rule is not at {found.source!r}")
    expect(not found.is_jaxs_own and not found.is_backward, f"it is taken for another: {found}")


def test_a_rule_that_sees_zeros_says_so(flags):
    (found,) = rules(rule(jnp.sin, symbolic_zeros=True), X)
    expect(found.sees_zeros, "a rule does not say any more that it sees symbolic zeros")


def test_a_rule_with_static_arguments_is_described(flags):
    @functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
    def power(n, x):
        return x**n

    def power_bwd(n, x, dy):
        return (dy * n * x ** (n - 1),)

    power.defvjp(lambda n, x: (x**n, x), power_bwd)
    for f in (power, jax.jit(power, static_argnums=0)):
        (found,) = rules(functools.partial(f, 3), X)
        expect(found.source == line_of(power_bwd), f"the backward function is not {found.source}")
        expect(found.arguments == ("float32[3]",), f"arguments are {found.arguments}")


def test_custom_gradient_is_a_rule(flags):
    def f(x):
        return jnp.sin(x), lambda dy: dy * jnp.cos(x)

    (found,) = rules(jax.custom_gradient(f), X)
    expect(found.source == line_of(f), f"custom_gradient hides it: {found.source!r}")
    expect(found.is_backward and not found.is_jaxs_own, f"it is taken for another: {found}")


def test_rules_of_jax_are_told_from_others(flags):
    (own,) = rules(jax.nn.relu, X)
    expect(own.name == "relu" and own.is_jaxs_own, f"relu is not taken for one of JAX: {own}")
    outer, inner = rules(rule(jax.nn.relu), X)
    expect(not outer.is_jaxs_own, "a rule for a function of JAX is taken for JAX's:", outer)
    expect(inner.is_jaxs_own, f"relu inside of a rule is not taken for one of JAX: {inner}")


def test_packages_beside_jax_are_not_jax(flags):
    place = Path(jax.__file__).parent.parent / "jaxopt" / "losses.py"
    code = """
@jax.custom_vjp
def loss(x):
    return x

def loss_bwd(_, dy):
    return (dy,)

loss.defvjp(lambda x: (x, None), loss_bwd)
"""
    module = {"jax": jax, "__name__": "jaxopt.losses"}
    exec(compile(code, str(place), "exec"), module)
    (found,) = rules(module["loss"], X)
    expect(found.source == f"{place}:6", f"the backward function is not at {found.source!r}")
    expect(not found.is_jaxs_own, "jaxopt is taken for JAX:", found)


def test_a_rule_that_is_a_class_is_described():
    def f(x):
        return Sine(jax.typeof(x))(x)

    (found,) = rules(f, X)
    expect(found.name == "Sine", f"the class is not found, but {found.name!r}")
    expect(found.source == line_of(Sine.vjp_bwd_retval), f"its rule is not at {found.source!r}")
    expect(found.is_backward and not found.is_jaxs_own, f"it is taken for another: {found}")
    changed = inline_calls(jax.make_jaxpr(f)(X), lambda e, _: rule_in(e) is not None)
    np.testing.assert_array_equal(as_function(changed)(X)[0], jnp.sin(X))


def test_the_halves_of_a_rule_are_found(flags):
    def power(n, x):
        return x**n

    def fwd(n, x):
        return x**n, x

    def bwd(n, x, dy):
        return (dy,)

    function = jax.custom_vjp(power, nondiff_argnums=(0,))
    function.defvjp(fwd, bwd, symbolic_zeros=True)
    want = _jax.Halves(power, fwd, bwd, (0,), True)
    for f in (function, jax.jit(function, static_argnums=0), jax.jit(jax.jit(function))):
        expect(_jax.halves_of(f) == want, f"a custom_vjp has other attributes: {_jax.halves_of(f)}")
    for f in (power, jnp.sin, jax.jit(power), forward_rule, jax.custom_vjp(power)):
        assert _jax.halves_of(f) is None


# --- the wording of errors ------------------------------------------------------------------------


def message_of(f, *args):
    """What JAX says when it refuses."""
    with pytest.raises(Exception) as refusal:  # noqa: PT011
        f(*args)
    return str(refusal.value)


def wrong_rule():
    function = jax.custom_vjp(lambda x, tree: x * tree["a"][0])
    function.defvjp(lambda x, tree: (x, None), lambda _, dy: (dy, {"a": [dy[:2]]}))
    return jax.grad(lambda *args: function(*args).sum(), (0, 1))


def test_a_cotangent_that_does_not_fit(flags):
    message = message_of(wrong_rule(), X, {"a": [X]})
    want = messages.WrongCotangent("float32[2]", "float32[3]", "2", "3")
    found = _jax.wrong_cotangent(message)
    expect(found == want, f"its words about a wrong shape have changed ({found}):", message)
    expect(_jax.output_path(message) == (1, "['a'][0]"), "the place is worded otherwise:", message)


def test_a_value_that_a_rule_closes_over(flags):
    message = message_of(jax.grad(jax.jit(lambda x: rule(lambda y: y * x)(x).sum())), X)
    expect(_jax.says_closed_over(message), "its words about closed-over values changed:", message)


@needs_devices
def test_what_the_backend_lacks():
    message = message_of(jax.jit(sharded(ragged, check_vma=False)), jnp.ones((4, 4)))
    if jax.default_backend() == "cpu":
        expect(_jax.says_unimplemented(message), "what XLA lacks is worded otherwise:", message)


@needs_devices
def test_axes_that_differ(flags):
    function = jax.custom_vjp(lambda w: w * 2.0)
    function.defvjp(lambda w: (w * 2.0, None), lambda _, dy: (dy * lax.axis_index("i"),))
    message = message_of(jax.grad(lambda w: sharded(function, EVERYWHERE, EVERYWHERE)(w).sum()), X)
    expect(_jax.says_axes_differ(message), "its words about axes have changed:", message)
    assert not _jax.says_axes_differ(message_of(wrong_rule(), X, {"a": [X]}))


def test_no_reverse_mode():
    f = PLACES["while_loop"](jnp.sin)
    message = message_of(jax.grad(lambda x: f(x).sum()), X)
    expect(_jax.says_no_reverse_mode(message), "it words this otherwise:", message)


# --- where arrays are -----------------------------------------------------------------------------


@needs_devices
@pytest.mark.parametrize("check_vma", [True, False])
def test_the_axes_along_which_devices_differ(check_vma):
    found = []

    def look(x):
        same = jnp.ones(3)
        found.extend(map(_jax.varying_axes, [x, same, _jax.make_varying(same, ["i"])]))
        return x

    sharded(look, check_vma=check_vma)(jnp.ones(8))
    varying = frozenset(["i"] if check_vma else [])
    want = [varying, frozenset(), varying]
    expect(found == want, f"types have other axes: {found}")
    assert _jax.varying_axes(X) == frozenset()


def test_an_array_is_held_in_row_major_order():
    x = jnp.arange(6.0).reshape(2, 3)

    def f(x):
        return _jax.in_row_major_order(x.T)

    text = jax.jit(f).lower(x).as_text()
    expect("LayoutConstraint" in text, "with_layout_constraint leaves no constraint:", text)
    np.testing.assert_array_equal(jax.jit(f)(x), x.T)


def test_indices_are_counted_from_the_end():
    def count(f):
        program = jax.make_jaxpr(f)(1)
        return len([*_jax.comparisons_of_indices(program)])

    expect(count(lambda i: X[i]) == 1, "an index is not compared with 0 and added to")
    expect(count(lambda i: jnp.take(X, i)) == 1, "take counts in another way")
    assert count(lambda i: (i < 0, i + 3, i > 0, jax.lax.lt(2, i))) == 1
    assert count(lambda i: (i < 0, i >= 0, jax.lax.lt(2, i))) == 0


# --- compiling ------------------------------------------------------------------------------------


def test_options_with_which_xla_compiles_quickly():
    found = _jax.quick_options()
    if jax.default_backend() == "cpu":
        expect(found, "XLA knows none of", *compiling.QUICK)
        assert not compiling._is_known({"xla_unknown_option": 0})
    else:
        assert found is None
    np.testing.assert_array_equal(_jax.compiled(lambda x: x + 1, X, quickly=True)(X), X + 1)
    directly = jax.jit(lambda x: x + 1).lower(X).compile(_jax.direct_options())
    np.testing.assert_array_equal(directly(X), X + 1)


def test_tracebacks_keep_the_frames_of_jax():
    with _jax.unfiltered_tracebacks(), pytest.raises(TypeError) as refusal:
        jax.jit(lambda x: jnp.sin("no number"))(X)
    files = [frame.filename for frame in traceback.extract_tb(refusal.value.__traceback__)]
    inside = [file for file in files if rules_of_jax._is_inside_jax(file)]
    expect(any("pjit" in file for file in inside), "its frames are filtered:", files)


def test_arrays():
    for leaf in (X, np.ones(3), np.float32(1), jax.eval_shape(jnp.sin, X)):
        assert _jax.is_array(leaf) == (not isinstance(leaf, jax.ShapeDtypeStruct))
    assert not _jax.is_array(np.dtype(float))
    assert _jax.has_dtype(X, jnp.floating)
    assert not _jax.has_dtype(X, jnp.integer)
    assert _jax.is_key(jax.random.key(0))
    assert not _jax.is_key(jax.random.PRNGKey(0))


# --- what is known when a program is lowered ------------------------------------------------------


def _transposed(x):
    return _jax.last_to_front(x, lambda V: _jax.in_row_major_order(jnp.moveaxis(V, -1, 0)))


def test_an_array_is_moved_in_memory_unless_xla_partitions_the_program():
    x = jnp.arange(48.0).reshape(2, 4, 6)
    np.testing.assert_array_equal(_transposed(x), jnp.moveaxis(x, -1, 0))
    assert "LayoutConstraint" in jax.jit(_transposed).lower(x).as_text()
    if jax.device_count() < 2:
        pytest.skip("a program is partitioned for two devices at least")
    mesh = jax.make_mesh((2,), ("data",), (jax.sharding.AxisType.Auto,), devices=jax.devices()[:2])
    spec = jax.sharding.PartitionSpec("data")
    split = jax.device_put(x, jax.sharding.NamedSharding(mesh, spec))
    np.testing.assert_array_equal(jax.jit(_transposed)(split), jnp.moveaxis(x, -1, 0))
    assert "LayoutConstraint" not in jax.jit(_transposed).lower(split).as_text()
    out = jax.sharding.PartitionSpec(None, "data")
    by_device = jax.jit(jax.shard_map(_transposed, mesh=mesh, in_specs=spec, out_specs=out))
    np.testing.assert_array_equal(by_device(split), jnp.moveaxis(x, -1, 0))
    assert "LayoutConstraint" in by_device.lower(split).as_text()


def test_a_program_that_differentiates_is_known_by_its_names():
    def gradient(x):
        return jax.grad(lambda x: jnp.sum(jnp.sin(x)))(x)

    x = jnp.ones(3)
    for function in (gradient, jax.jit(gradient), lambda x: jax.jvp(jnp.sin, (x,), (x,))[1]):
        assert _jax.differentiates(jax.make_jaxpr(function)(x))
    for function in (jnp.sin, jax.vmap(jnp.sin), jax.jit(jax.nn.relu)):
        assert not _jax.differentiates(jax.make_jaxpr(function)(x))


# --- several processes ----------------------------------------------------------------------------


def test_a_process_that_has_joined_none_is_a_group_of_its_own():
    group = _jax.process_group()
    expect(group == (0, 1, "", None), "the state of jax.distributed is", group)


def test_a_cluster_is_detected_if_all_of_its_variables_are_set(monkeypatch):
    for name in ("JOB_ID", "STEP_NODELIST", "NTASKS", "PROCID"):
        expect(not _jax.finds_cluster(), "a cluster is detected without SLURM_" + name)
        monkeypatch.setenv("SLURM_" + name, "1")
    monkeypatch.setenv("SLURM_LOCALID", "0")
    expect(_jax.finds_cluster(), "the variables that srun sets are not detected")
