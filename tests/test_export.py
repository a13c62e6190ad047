"""Models as files of PyTorch, JAX and ONNX: run by those libraries, and compared with the model."""

import functools
import itertools
import json
import os
import re
import stat
import subprocess
import sys
from functools import partial
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import reference
import safetensors
import safetensors.numpy
from support import assert_same_bits, command

import fcjax
from fcjax import ACTIVATIONS, Layer, Model, export
from fcjax.export import onnx_graph
from fcjax.export.layers import dense_layers
from fcjax.export.onnx_activations import NODES
from fcjax.export.onnx_graph import STRING, Graph
from fcjax.export.onnx_networks import add_layers

pytestmark = pytest.mark.usefixtures("unchecked")

ROWS = (1, 2, 129)
X = {m: np.random.default_rng(m).normal(size=(m, 5)).astype(np.float32) for m in ROWS}
LEAKY = partial(fcjax.leaky_relu, negative_slope=0.3)


def params(sizes=(5, 7, 4, 3), seed=0, bias=True, dtype=np.float32):
    """As `init` would draw them, by NumPy, which compiles nothing."""
    rng = np.random.default_rng(seed)

    def draw(*shape):
        return jnp.asarray((rng.normal(size=shape) / shape[0] ** 0.5).astype(dtype))

    pairs = itertools.pairwise(sizes)
    return tuple(Layer(draw(i, n), draw(n) if bias else None) for i, n in pairs)


@functools.cache
def answers(name, scale=1):
    """What a model gives for each row, computed once."""
    on_one_device = jax.tree.map(np.asarray, MODELS[name]())
    return np.asarray(jax.jit(on_one_device)(scale * X[129]))


def stacked(dtype):
    return Model(fcjax.stack(params((5, 4, 4, 4, 4, 3), dtype=dtype)), "tanh")


def sharded():
    mesh = fcjax.distributed.mesh({"data": 2, "model": 4})
    return fcjax.distributed.place(Model(params((5, 16, 8)), "tanh"), mesh, "tensor")


MODELS = {
    "plain": lambda: Model(params()),
    "all options": lambda: Model(params(), ["tanh", LEAKY], "softmax", dropout=0.25),
    "primes": lambda: Model(params((5, 31, 1, 97, 13, 2)), "silu", "sigmoid"),
    "one layer": lambda: Model(params((5, 2)), output_activation="log_softmax"),
    "no bias": lambda: Model(params(bias=False), "identity"),
    "some biases": lambda: Model((Layer(jnp.ones((5, 3))), *params((3, 2)))),
    "halved": lambda: Model(params((5, 7, 6)), "gelu", "glu"),
    "stacked": lambda: stacked(np.float32),
    "stacked, no bias": lambda: Model(fcjax.stack(params((5, 4, 4, 4, 3), bias=False)), "elu"),
    "NumPy's": lambda: Model(
        (Layer(np.asfortranarray(np.arange(15, dtype=np.float32).reshape(5, 3))),)
    ),
    "sharded": sharded,
    "bfloat16": lambda: Model(params(dtype=jnp.bfloat16)),
    "float16": lambda: Model(params(dtype=jnp.float16)),
    "two dtypes": lambda: Model((*params((5, 3), dtype=jnp.bfloat16), *params((3, 2)))),
}
WRITERS = {"torch": export.to_torch, "jax": export.to_jax, "onnx": export.to_onnx}


def needs(to):
    pytest.importorskip({"jax": "flatbuffers", "onnx": "onnx", "torch": "safetensors"}[to])
    return WRITERS[to]


def own(Z):
    return jnp.sin(Z)


# Every activation, with options too, and its oracle in NumPy.
CASES = {name: (name, reference.ACTIVATIONS[name]) for name in ACTIVATIONS}
for name, option in (
    ("leaky_relu", "negative_slope"), ("elu", "alpha"), ("celu", "alpha"), ("squareplus", "b")
):  # fmt: skip
    for value in (0.3, 2):
        functions = ACTIVATIONS[name], reference.ACTIVATIONS[name]
        CASES[f"{name}, {value}"] = tuple(partial(g, **{option: value}) for g in functions)
CASES["leaky_relu, negative"] = (
    partial(fcjax.leaky_relu, negative_slope=-0.5),
    lambda z: np.where(z >= 0, z, -0.5 * z),
)
CASES["gelu, exact"] = partial(fcjax.gelu, approximate=False), reference.gelu_exact
CASES["softmax, axis 1"] = partial(fcjax.softmax, axis=1), reference.softmax
# 0, kinks, saturation, and numbers of even count, which glu halves
POINTS = np.array(
    [0, -0.0, 1, -1, 3, -3, 6, -6, 100, -100, 0.5, -0.5, 2.9999, -2.9999, 20.5, -20.5, 1e-3, -1e-3,
     88, -88, 5.9999, 1e-30], np.float32,
)  # fmt: skip
AT_POINTS = np.stack([POINTS, POINTS[::-1], np.roll(POINTS, 3)])


def alone(activation, dtype=jnp.float32):
    """A model that is this activation."""
    return Model((Layer(jnp.eye(len(POINTS), dtype=dtype)),), output_activation=activation)


# --- PyTorch --------------------------------------------------------------------------------------


def state_of(path):
    """What a file holds, read by safetensors itself, with bfloat16 through ml_dtypes."""
    with safetensors.safe_open(path, "np") as file:
        return {name: file.get_tensor(name) for name in file.keys()}, file.metadata()  # noqa: SIM118


@pytest.mark.parametrize("name", MODELS)
def test_a_file_for_torch_has_what_linear_layers_hold(name, tmp_path):
    model = MODELS[name]()
    export.to_torch(model, tmp_path / "it")
    state, _ = state_of(tmp_path / "it")
    layers = fcjax.unstack(model.params)
    names = [f"{2 * i}.weight" for i in range(len(layers))]
    names += [f"{2 * i}.bias" for i, layer in enumerate(layers) if layer.b is not None]
    assert sorted(state) == sorted(names)
    for i, (w, b) in enumerate(layers):
        assert state[f"{2 * i}.weight"].dtype == w.dtype
        assert state[f"{2 * i}.weight"].tobytes() == np.asarray(w).T.tobytes()
        assert b is None or state[f"{2 * i}.bias"].tobytes() == np.asarray(b).tobytes()


def applied(state, functions, x):
    """The network by PyTorch's convention, in NumPy and float64."""
    for i, g in enumerate(functions):
        x = g(x @ state[f"{2 * i}.weight"].astype(float).T + state.get(f"{2 * i}.bias", 0.0))
    return x


@pytest.mark.parametrize("m", ROWS)
def test_a_file_for_torch_gives_the_same_network_in_numpy(m, tmp_path):
    model = Model(params((5, 31, 17, 2)), ["tanh", LEAKY], "softmax")
    export.to_torch(model, tmp_path / "it")
    functions = np.tanh, partial(reference.leaky_relu, negative_slope=0.3), reference.softmax
    want = applied(state_of(tmp_path / "it")[0], functions, X[m].astype(float))
    np.testing.assert_allclose(model(X[m]), want, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", MODELS)
def test_a_model_comes_back_from_torch_with_the_same_bits(name, tmp_path):
    model = MODELS[name]()
    export.to_torch(model, tmp_path / "it")
    again = export.from_torch(tmp_path / "it", model.activations, model.output_activation)
    wanted = Model(fcjax.unstack(model.params), model.activations, model.output_activation)
    assert jax.tree.structure(again) == jax.tree.structure(wanted)
    for got, want in zip(*map(jax.tree.leaves, (again, wanted)), strict=True):
        assert isinstance(got, jax.Array)
        assert got.dtype == want.dtype
        assert np.asarray(got).tobytes() == np.asarray(want).tobytes()


def test_float64_comes_back_from_torch_only_where_jax_has_it(tmp_path, x64):
    model = Model(params(dtype=x64))
    export.to_torch(model, tmp_path / "it")
    assert_same_bits(export.from_torch(tmp_path / "it").params, model.params)
    assert ", dtype=torch.float64)" in export.torch_code(model)
    with jax.enable_x64(False):
        with pytest.raises(ValueError, match=r"the file '.*it' has parameters in float64, which"):
            export.from_torch(tmp_path / "it")
        with pytest.raises(ValueError, match=r"^the state dict has parameters in float64, which"):
            export.from_torch(state_of(tmp_path / "it")[0])


def test_the_bytes_of_a_file_for_torch_are_always_the_same(tmp_path):
    for name in "ab":
        export.to_torch(MODELS["all options"](), tmp_path / name)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def modules_of(code):
    """The modules of a line of Python, as (name, arguments, options), without PyTorch."""

    class Modules:
        def __getattr__(self, name):
            return lambda *args, **options: (name, args, options)

    torch = SimpleNamespace(nn=Modules(), bfloat16="bfloat16", float16="float16")
    return eval(code, {"torch": torch})[1]


@pytest.mark.parametrize("name", MODELS)
def test_the_line_for_torch_has_a_linear_at_each_number_of_the_file(name, tmp_path):
    model = MODELS[name]()
    export.to_torch(model, tmp_path / "it")
    state, metadata = state_of(tmp_path / "it")
    assert metadata == {"torch_code": export.torch_code(model)}
    modules = modules_of(metadata["torch_code"])
    linear = {i: module for i, module in enumerate(modules) if module[0] == "Linear"}
    assert {f"{i}.weight" for i in linear} == {key for key in state if "weight" in key}
    for i, (_, sizes, options) in linear.items():
        assert state[f"{i}.weight"].shape == sizes[::-1]
        assert options.get("bias", True) == (f"{i}.bias" in state)


def test_the_line_for_torch_says_what_differs_from_its_defaults():
    def line(activation, **options):
        return export.torch_code(Model(params((5, 3, 2)), activation, **options))

    three = "torch.nn.Sequential(torch.nn.Linear(5, 3), torch.nn.{}, torch.nn.Linear(3, 2))"
    assert line("gelu") == three.format("GELU(approximate='tanh')")
    exact = partial(fcjax.gelu, approximate=False)
    assert line(exact) == three.format("GELU(approximate='none')")
    assert line(LEAKY) == three.format("LeakyReLU(negative_slope=0.3)")
    assert line(partial(fcjax.celu, alpha=2)) == three.format("CELU(alpha=2)")
    assert line("identity") == three.format("Identity()")
    soft = three.format("ReLU()")[:-1] + ", torch.nn.Softmax(dim=-1))"
    assert line("relu", output_activation="softmax") == soft


@pytest.mark.parametrize("name", ["squareplus", "sparse_plus", "sparse_sigmoid"])
def test_what_torch_has_no_module_for_is_named_but_its_weights_are_written(name, tmp_path):
    model = Model(params(), name)
    with pytest.raises(ValueError, match=rf"^PyTorch has no module for '{name}'; it has one for"):
        export.torch_code(model)
    export.to_torch(model, tmp_path / "it")
    assert state_of(tmp_path / "it")[1] is None
    assert_same_bits(export.from_torch(tmp_path / "it", name).params, model.params)


def test_activations_that_are_not_those_of_the_file_are_refused(tmp_path):
    export.to_torch(Model(params(), "tanh"), tmp_path / "it")
    with pytest.raises(ValueError, match=r"^activations must be those .*Tanh\(\).*; got .*ReLU"):
        export.from_torch(tmp_path / "it")
    with pytest.raises(ValueError, match=r"^activations must be those .*; got .*Sigmoid"):
        export.from_torch(tmp_path / "it", "tanh", "sigmoid")
    model = export.from_torch(tmp_path / "it", "tanh", dropout=0.5, compute_dtype="bfloat16")
    assert (model.dropout, model.compute_dtype) == (0.5, "bfloat16")


def state(*sizes, numbers=None, dtype=np.float32):
    """A state dict of Linear layers, as arrays of NumPy."""
    rng = np.random.default_rng(0)
    made = {}
    for i, n_in, n_out in zip(numbers or range(9), sizes[:-1], sizes[1:], strict=False):
        made[f"{i}.weight"] = rng.normal(size=(n_out, n_in)).astype(dtype)
        made[f"{i}.bias"] = rng.normal(size=n_out).astype(dtype)
    return made


def test_layers_follow_the_numbers_of_a_state_dict_from_torch():
    given = state(5, 7, 4, 3, 2, numbers=(0, 3, 9, 10))
    shuffled = dict(sorted(given.items(), key=lambda item: item[0], reverse=True))
    model = export.from_torch(shuffled, "relu")
    assert model.sizes == (5, 7, 4, 3, 2)
    for i, layer in zip((0, 3, 9, 10), model.params, strict=True):
        assert_same_bits(layer, Layer(given[f"{i}.weight"].T, given[f"{i}.bias"]))
    del shuffled["9.bias"]
    assert export.from_torch(shuffled).params[2].b is None


STATES = {
    "batch norm": (
        {**state(5, 3), "1.running_mean": np.ones(3)},
        ValueError,
        r"^source must have the keys of a torch.nn.Sequential .*got '1.running_mean', shape \[3\]",
    ),
    "layer norm": (
        {**state(5, 3), "1.weight": np.ones(3, np.float32)},
        ValueError,
        r"source\['1.weight'\] must have shape \(n_out, n_in\), .*got float32\[3\]",
    ),
    "a module's": ({"net.0.weight": np.ones((3, 5))}, ValueError, "got 'net.0.weight'"),
    "a bias alone": (
        {"0.bias": np.ones(3, np.float32)},
        ValueError,
        r"source\['0.weight'\] .*got none",
    ),
    "integers": (
        {"0.weight": np.ones((3, 5), int)},
        TypeError,
        r"^source\['0.weight'\] must be fl",
    ),
    "a number": ({"0.weight": 3}, TypeError, "must be floating-point"),
    "a key that is none": ({0: np.ones((3, 5))}, ValueError, "got 0, shape"),
    "nothing": ({}, ValueError, "^source must hold at least one Linear layer, got none"),
    "sizes that do not fit": (
        {**state(5, 3), "2.weight": np.ones((2, 4), np.float32)},
        ValueError,
        r"params\[1\].w must have 3 rows",
    ),
    "a bias that does not fit": (
        {**state(5, 3), "0.bias": np.ones(4, np.float32)},
        ValueError,
        r"params\[0\].b must have shape \(3,\)",
    ),
    "a list": ([1], TypeError, "^source must be a path, got list"),
    "no file": ("no/such", FileNotFoundError, r"^source must be a safetensors file, got 'no/such'"),
    "a folder": (".", FileNotFoundError, r"^source must be .*got '\.', which is no file"),
}


@pytest.mark.parametrize(("given", "kind", "message"), STATES.values(), ids=STATES)
def test_a_state_that_is_not_of_linear_layers_is_named(given, kind, message):
    with pytest.raises(kind, match=message):
        export.from_torch(given)


def test_a_file_that_is_not_safetensors_is_named(tmp_path):
    (tmp_path / "it").write_bytes(b"PK\x03\x04 a pickle of PyTorch, say")
    with pytest.raises(
        ValueError, match=r"^source must be a safetensors file, .*weights_only=True"
    ):
        export.from_torch(tmp_path / "it")
    safetensors.numpy.save_file({"0.weight": np.ones((3, 5), np.int8)}, tmp_path / "it")
    with pytest.raises(ValueError, match=r"0\.weight has the dtype I8, which is none of"):
        export.from_torch(tmp_path / "it")


@pytest.fixture
def torch():
    return pytest.importorskip("torch", reason="PyTorch is the peer")


@pytest.mark.parametrize("name", [name for name in MODELS if name not in ("NumPy's",)])
def test_torch_loads_the_file_into_the_line(torch, name, tmp_path):
    import safetensors.torch

    model = MODELS[name]()
    export.to_torch(model, tmp_path / "it")
    sequential = eval(export.torch_code(model), {"torch": torch})
    sequential.load_state_dict(safetensors.torch.load_file(tmp_path / "it"))
    if name not in ("bfloat16", "float16"):
        for m in ROWS:
            got = sequential(torch.from_numpy(X[129][:m])).detach().numpy()
            np.testing.assert_allclose(got, answers(name)[:m], rtol=1e-5, atol=1e-5)
    again = export.from_torch(sequential.state_dict(), model.activations, model.output_activation)
    for got, want in zip(again.params, fcjax.unstack(model.params), strict=True):
        if name != "two dtypes":
            assert got.w.dtype == want.w.dtype
        assert np.asarray(got.w).tobytes() == np.asarray(want.w.astype(got.w.dtype)).tobytes()


HAVE_MODULES = [name for name in CASES if not name.startswith(("squareplus", "sparse_"))]


@pytest.mark.parametrize("name", HAVE_MODULES)
def test_each_module_of_torch_is_the_activation(torch, name, x64):
    model = alone(CASES[name][0], x64)
    sequential = eval(export.torch_code(model), {"torch": torch})
    got = sequential[1:](torch.tensor(AT_POINTS, dtype=torch.float64))
    np.testing.assert_allclose(got.numpy(), model(AT_POINTS.astype(x64)), rtol=1e-12, atol=1e-14)


def test_a_network_of_torch_comes_back_though_its_tensors_go_on_changing(torch):
    torch.manual_seed(0)
    sequential = torch.nn.Sequential(
        torch.nn.Linear(5, 7), torch.nn.Tanh(), torch.nn.Dropout(0.5), torch.nn.Linear(7, 3)
    ).eval()
    model = export.from_torch(sequential.state_dict(), "tanh")
    before = sequential(torch.from_numpy(X[129])).detach().numpy()
    with torch.no_grad():
        for tensor in sequential.parameters():
            tensor.zero_()
    np.testing.assert_allclose(model(X[129]), before, rtol=1e-5, atol=1e-6)
    with pytest.raises(TypeError, match=r"^source must be a state dict, got .*pass .state_dict"):
        export.from_torch(sequential)


def test_parameters_of_torch_keep_the_bits_of_bfloat16(torch):
    bits = np.arange(2**16, dtype=np.uint16).view(np.int16).reshape(256, 256)
    tensor = torch.nn.Parameter(torch.from_numpy(bits).view(torch.bfloat16))
    (layer,) = export.from_torch({"0.weight": tensor}).params
    assert layer.w.dtype == jnp.bfloat16
    assert np.asarray(layer.w.T).tobytes() == bits.tobytes()


def test_batch_norm_of_torch_is_named(torch):
    module = torch.nn.Sequential(torch.nn.Linear(5, 3), torch.nn.BatchNorm1d(3))
    with pytest.raises(ValueError, match=r"must have the keys of .*got '1.running_mean'"):
        export.from_torch(module.state_dict())


# --- JAX ------------------------------------------------------------------------------------------


def program_of(path):
    pytest.importorskip("flatbuffers")
    return jax.export.deserialize(bytearray(path.read_bytes())).call


@pytest.mark.parametrize("name", MODELS)
def test_a_program_of_jax_gives_the_bits_of_the_model(name, tmp_path):
    model = MODELS[name]()
    needs("jax")(model, tmp_path / "it", platforms=["cpu"])
    program = program_of(tmp_path / "it")
    compiled = jax.jit(jax.tree.map(np.asarray, model))
    for m in ROWS if name in ("plain", "stacked") else (129,):
        assert_same_bits(program(X[m]), compiled(X[m]))
    np.testing.assert_allclose(program(X[129]), answers(name), rtol=1e-5, atol=1e-6)


ALL = [name for name in ACTIVATIONS if name != "glu"]


def deep():
    """A network with every activation that keeps the size, and a function of the caller."""
    sizes = (5, *(6 for _ in range(len(ALL) + 1)), 4)
    return Model(params(sizes), [*ALL, own], "glu", compute_dtype="bfloat16")


CALLED = """
import sys
sys.modules["fcjax"] = None  # as if it were not installed
import jax, jax.export, numpy as np
arrays = np.load(sys.argv[1])
jax.config.update("jax_enable_x64", "float64" in sys.argv[2])
program = jax.export.deserialize(bytearray(open(sys.argv[2], "rb").read()))
assert program.platforms == ("cpu", "cuda", "tpu"), program.platforms
got = {name: np.asarray(program.call(x)) for name, x in arrays.items()}
np.savez(sys.argv[3], **got)
print(sorted(name for name in sys.modules if name.startswith(("fcjax", "optax"))))
"""


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_another_process_calls_the_program_without_fcjax(dtype, tmp_path):
    with jax.enable_x64(dtype == "float64"):
        model = deep() if dtype == "float32" else stacked(np.float64)
        inputs = {str(m): x.astype(dtype) for m, x in X.items()}
        needs("jax")(model, tmp_path / dtype)
        want = {m: np.asarray(jax.jit(model)(x)) for m, x in inputs.items()}
    np.savez(tmp_path / "in.npz", **inputs)
    files = [tmp_path / name for name in ("in.npz", dtype, "out.npz")]
    command = [sys.executable, "-I", "-c", CALLED, *map(str, files)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, timeout=300)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "['fcjax']\n"
    got = np.load(files[2])
    for m in inputs:
        assert got[m].dtype == dtype
        np.testing.assert_array_equal(got[m], want[m])


def test_a_program_of_jax_refuses_other_columns_and_no_rows(tmp_path):
    needs("jax")(MODELS["plain"](), tmp_path / "it", platforms=("cpu",))
    program = program_of(tmp_path / "it")
    for x in (np.ones((2, 6), np.float32), np.ones((0, 5), np.float32), np.ones(5, np.float32)):
        with pytest.raises(ValueError):  # noqa: PT011 - the message is that of JAX
            program(x)


@pytest.mark.parametrize(
    ("platforms", "kind", "message"),
    [
        ("cpu", TypeError, r"^platforms must be a sequence of names .*, got str 'cpu'"),
        ((), TypeError, r"^platforms must be .*got tuple \(\)"),
        (
            ["gpu"],
            ValueError,
            r"^platforms: 'gpu' is unknown; did you mean .*: cpu, cuda, rocm, tpu$",
        ),
        ([3], ValueError, "^platforms: 3 is unknown"),
    ],
)
def test_platforms_that_are_none_are_named(platforms, kind, message, tmp_path):
    with pytest.raises(kind, match=message):
        export.to_jax(MODELS["plain"](), tmp_path / "it", platforms=platforms)
    assert not list(tmp_path.iterdir())


# --- ONNX -----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def onnx():
    pytest.importorskip("onnxruntime")
    module = pytest.importorskip("onnx")
    pytest.importorskip("onnx.reference")
    return module


def session(model):
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    data = model if isinstance(model, bytes) else model.read_bytes()
    return onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])


def outputs(onnx, path, x, by_reference=True):
    """What ONNX Runtime gives, and ONNX's own evaluator in NumPy."""
    onnx.checker.check_model(onnx.load(path), full_check=True)
    yield session(path).run(["y"], {"x": x})[0]
    if by_reference:
        with np.errstate(all="ignore"):
            yield onnx.reference.ReferenceEvaluator(str(path)).run(["y"], {"x": x})[0]


def test_onnx_has_nodes_for_every_activation():
    assert {*NODES} == {*ACTIVATIONS}


@pytest.mark.parametrize("name", CASES)
def test_each_activation_of_onnx_is_that_of_the_model_at_large_numbers(onnx, name, tmp_path):
    x = np.zeros((1, len(POINTS)), np.float32)
    x[0, :8] = [1e18, -1e18, 2e19, -2e19, 3e38, -3e38, 1e-38, -1e-38]
    model = alone(CASES[name][0])
    export.to_onnx(model, tmp_path / "it")
    (got,) = outputs(onnx, tmp_path / "it", x, by_reference=False)
    np.testing.assert_allclose(got, np.asarray(model(x)), rtol=1e-5, atol=1e-30)


@pytest.mark.parametrize("name", CASES)
def test_each_activation_of_onnx_is_that_of_the_model(onnx, name, tmp_path):
    activation, oracle = CASES[name]
    model = alone(activation)
    export.to_onnx(model, tmp_path / "it")
    # as in the next test, ONNX's evaluator cannot
    of_model = np.asarray(model(AT_POINTS))
    for got in outputs(onnx, tmp_path / "it", AT_POINTS, by_reference="log_softmax" not in name):
        assert got.dtype == np.float32
        np.testing.assert_allclose(got, of_model, rtol=1e-5, atol=1e-5)
        with np.errstate(over="ignore"):
            want = oracle(AT_POINTS.astype(float))
        np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", MODELS)
def test_onnx_runtime_gives_the_numbers_of_the_model(onnx, name, tmp_path):
    model = MODELS[name]()
    export.to_onnx(model, tmp_path / "it")
    for m, scale in ((1, 1), (2, 1), (3, 1), (129, 1), (129, 30)):
        # ONNX's evaluator takes the logarithm of a softmax that has become 0
        x, by_reference = scale * X[129][:m], scale == 1
        for got in outputs(onnx, tmp_path / "it", x, by_reference):
            np.testing.assert_allclose(got, answers(name, scale)[:m], rtol=1e-5, atol=1e-5)


def test_onnx_is_float32_whatever_the_model_computes_in(onnx, tmp_path, x64):
    model = Model(params(dtype=x64), "tanh", compute_dtype="bfloat16")
    export.to_onnx(model, tmp_path / "it")
    (got, _) = outputs(onnx, tmp_path / "it", X[129])
    want = fcjax.mlp(model.params, X[129].astype(x64), activations="tanh")
    np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-5)
    huge = Model((Layer(jnp.full((5, 3), 1e300, x64)),))
    with pytest.raises(ValueError, match=r"^layers.0.w must fit into float32, got float64\[5, 3\]"):
        export.to_onnx(huge, tmp_path / "it")
    infinite = Model((Layer(jnp.full((5, 3), np.inf, x64)),))
    export.to_onnx(infinite, tmp_path / "it")


def test_the_model_of_onnx_says_what_it_is(onnx, tmp_path):
    model = Model(params(), ["tanh", LEAKY], "softmax", "bfloat16", 0.25)
    export.to_onnx(model, tmp_path / "it")
    made = onnx.load(tmp_path / "it")
    assert (made.ir_version, [(o.domain, o.version) for o in made.opset_import]) == (9, [("", 20)])
    assert made.producer_name == "fcjax"
    assert [made.graph.input[0].name, made.graph.output[0].name] == ["x", "y"]
    for port, columns in ((made.graph.input[0], 5), (made.graph.output[0], 3)):
        rows, fixed = port.type.tensor_type.shape.dim
        assert (rows.dim_param, fixed.dim_value) == ("m", columns)
    properties = {p.key: p.value for p in made.metadata_props}
    assert properties["fcjax_version"] == made.producer_version
    fcjax.save(tmp_path / "model", model)
    saved = json.loads((tmp_path / "model" / "config.json").read_text())
    config = json.loads(properties["fcjax_config"])
    assert config == {name: saved[name] for name in config}
    assert config["activations"] == ["tanh", {"name": "leaky_relu", "negative_slope": 0.3}]
    arrays = {array.name: onnx.numpy_helper.to_array(array) for array in made.graph.initializer}
    assert_same_bits(arrays["layers.1.w"], model.params[1].w)


def test_a_graph_takes_nodes_before_a_network_and_after_several(onnx):
    """Strings as indicators and missing numbers filled in, then the mean of two networks."""
    graph = Graph()
    numbers, words = graph.input("numbers", 4), graph.input("words", 1, STRING)
    filled = graph.add("Where", graph.add("IsNaN", numbers), graph.constant([[7.0] * 4]), numbers)
    known = graph.constant([["a", "bb", "ü"]], "known", STRING)
    is_known = graph.add("Cast", graph.add("Equal", words, known), to=onnx.TensorProto.FLOAT)
    x = graph.add("Concat", filled, is_known, axis=1)
    models = [Model(params((7, 5, 2), seed), "tanh") for seed in (0, 1)]
    ys = [add_layers(graph, x, dense_layers(m), f"of {i}") for i, m in enumerate(models)]
    graph.output("mean", graph.add("Mean", *ys), 2)
    graph.output("first", ys[0], 2)
    given = np.float32([[1, 2, np.nan, 4], [5, 6, 7, 8], [np.nan] * 4])
    row = np.where(np.isnan(given), 7, given)
    row = np.concatenate([row, np.float32([[0, 1, 0], [0, 0, 1], [0, 0, 0]])], 1)
    data = graph.to_model({}).SerializeToString()
    feed = {"numbers": given, "words": np.array([["bb"], ["ü"], ["other"]], object)}
    mean, first = session(data).run(["mean", "first"], feed)
    np.testing.assert_allclose(mean, (models[0](row) + models[1](row)) / 2, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(first, models[0](row), rtol=1e-5, atol=1e-6)


def test_a_graph_that_is_too_large_for_a_file_of_onnx_is_refused(onnx, tmp_path, monkeypatch):
    monkeypatch.setattr(onnx_graph, "LIMIT", 5 * 7 * 4 + 7 * 4)
    with pytest.raises(ValueError, match=r"^model must have less than 2 GiB of weights in float32"):
        export.to_onnx(Model(params((5, 7))), tmp_path / "it")
    assert not list(tmp_path.iterdir())


def test_a_graph_has_one_port_of_each_name(onnx):
    graph = Graph()
    x = graph.input("x", 3)
    with pytest.raises(ValueError, match=r"^name must be a new one in the graph, got 'x'"):
        graph.output("x", x, 3)


def test_a_graph_that_is_wrong_is_refused(onnx):
    graph = Graph()
    graph.output("y", graph.add("Add", graph.input("x", 3), graph.constant([[1, 2]])), 3)
    with pytest.raises(Exception, match="Incompatible dimensions"):
        graph.to_model({})


# --- all of them ----------------------------------------------------------------------------------


@pytest.mark.parametrize("to", WRITERS)
def test_a_file_is_replaced_in_one_step_with_the_permissions_of_the_user(to, tmp_path, monkeypatch):
    write = needs(to)
    before = os.umask(0o027)
    try:
        write(MODELS["one layer"](), tmp_path / "it")
    finally:
        os.umask(before)
    old = (tmp_path / "it").read_bytes()
    assert stat.S_IMODE((tmp_path / "it").stat().st_mode) == 0o640

    def full(*_):
        raise OSError(28, "No space left on device")

    for name in ("fsync", "replace"):
        with monkeypatch.context() as patched:
            patched.setattr(os, name, full)
            with pytest.raises(OSError, match="No space left"):
                write(MODELS["plain"](), tmp_path / "it")
        assert (tmp_path / "it").read_bytes() == old
        assert len([*tmp_path.iterdir()]) == 1
    write(MODELS["plain"](), str(tmp_path / "it"))
    assert (tmp_path / "it").read_bytes() != old


@pytest.mark.parametrize(("to", "package"), [("jax", "flatbuffers"), ("onnx", "onnx")])
def test_a_package_that_is_missing_is_named_with_its_extra(to, package, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(ImportError, match=rf"need {package}: pip install 'fcjax\[export\]'$"):
        WRITERS[to](MODELS["plain"](), tmp_path / "it")
    assert not list(tmp_path.iterdir())


def deleted():
    model = Model(params())
    model.params[0].w.delete()
    return model


def shapes():
    return jax.tree.map(lambda V: jax.ShapeDtypeStruct(V.shape, V.dtype), Model(params()))


OF_ALL = {
    "a number": (lambda: 3, TypeError, "^model must be a Model.*, got int 3$"),
    "parameters": (
        params,
        TypeError,
        r"^model must be a Model.*, got .*; wrap parameters as Model",
    ),
    "a folder": (lambda: "my_model", TypeError, "^model must be a Model.*, got str 'my_model'$"),
    "deleted": (deleted, TypeError, r"^model\.params\[0\]\.w must be an array, .*deleted"),
    "shapes": (shapes, TypeError, r"^model\.params\[0\]\.w must be an array of numbers"),
    "an ensemble": (
        lambda: jax.tree.map(lambda V: jnp.stack([V] * 4), Model(params((5, 5, 3)))),
        ValueError,
        r"^params\[1\]\.w of stacked layers must have shape",
    ),
    "odd glu": (lambda: Model(params(), "relu", "glu"), ValueError, "must have an even size along"),
    "no such axis": (
        lambda: Model(params(), partial(fcjax.softmax, axis=2)),
        ValueError,
        "^axis must be an axis of z",
    ),
}
NOT_OF_JAX = {
    "own": (lambda: Model(params(), own), TypeError, "^activations must be an activation of fcj"),
    "in a list": (lambda: Model(params(), ["relu", own]), TypeError, r"^activations\[1\] must be"),
    "output": (lambda: Model(params(), "relu", jnp.sin), TypeError, "^output_activation must be"),
    "axis": (
        lambda: Model(params(), "relu", partial(fcjax.softmax, axis=0)),
        ValueError,
        r"^output_activation must work along the features .*got softmax\(axis=0\)$",
    ),
    "mask": (
        lambda: Model(params(), partial(fcjax.log_softmax, where=True)),
        ValueError,
        r"^activations must be without a mask .*got log_softmax\(where=True\)$",
    ),
}
REFUSED = [
    pytest.param(to, *case, id=f"{to}, {name}")
    for to in WRITERS
    for name, case in {**OF_ALL, **({} if to == "jax" else NOT_OF_JAX)}.items()
]


@pytest.mark.parametrize(("to", "make", "kind", "message"), REFUSED)
def test_a_model_that_cannot_be_exported_is_named(to, make, kind, message, tmp_path):
    with pytest.raises(kind, match=message) as error:
        WRITERS[to](make(), tmp_path / "it")
    assert len(str(error.value)) < 400
    assert not list(tmp_path.iterdir())
    if to == "torch":
        with pytest.raises(kind, match=message):
            export.torch_code(make())


@pytest.mark.parametrize("to", WRITERS)
def test_a_traced_model_is_named(to, tmp_path):
    with pytest.raises(ValueError, match=r"^model\.params\[0\]\.w must be a concrete array"):
        jax.jit(lambda model: WRITERS[to](model, tmp_path / "it"))(MODELS["plain"]())


@pytest.mark.parametrize("to", WRITERS)
def test_a_path_that_cannot_be_written_is_named(to, tmp_path):
    model = MODELS["plain"]()
    paths = {
        3: (TypeError, "^path must be a path, got int 3$"),
        "": (ValueError, "^path must be a path, got ''$"),
        "a\0b": (ValueError, "^path must be a path"),
        "~/it": (ValueError, "^path must be a path without ~"),
        tmp_path: (IsADirectoryError, "^path must be a file, got the folder"),
        tmp_path / "no" / "it": (FileNotFoundError, "^path must lie in a folder that exists, got"),
    }
    for path, (kind, message) in paths.items():
        with pytest.raises(kind, match=message):
            WRITERS[to](model, path)


# --- the command ----------------------------------------------------------------------------------


@pytest.mark.parametrize("to", WRITERS)
def test_the_command_writes_what_the_function_does(to, tmp_path, monkeypatch, capsys):
    model = MODELS["all options"]()
    needs(to)(model, tmp_path / "by function")
    fcjax.save(tmp_path / "model", model)
    out = tmp_path / "new" / "it"
    assert command(monkeypatch, "export", tmp_path / "model", "--to", to, "--out", out) == 0
    said = capsys.readouterr().out
    assert re.fullmatch(r"Model\(5-7-4-3 float32, .*\) is in \S+/new/it, [\d,]+ bytes\n", said)
    if to != "jax":  # whose files hold the places in the source from which they were traced
        assert out.read_bytes() == (tmp_path / "by function").read_bytes()
    else:
        assert_same_bits(program_of(out)(X[2]), program_of(tmp_path / "by function")(X[2]))


def test_the_command_keeps_float64(tmp_path, monkeypatch, x64):
    fcjax.save(tmp_path / "model", Model(params(dtype=x64)))
    with jax.enable_x64(False):
        command(
            monkeypatch, "export", tmp_path / "model", "--to", "torch", "--out", tmp_path / "it"
        )
    assert state_of(tmp_path / "it")[0]["0.weight"].dtype == x64


def test_what_is_wrong_with_the_command_is_said_in_one_line(tmp_path, monkeypatch, capsys):
    fcjax.save(tmp_path / "model", MODELS["plain"]())

    def refusal(folder, out):
        code = command(monkeypatch, "export", folder, "--to", "torch", "--out", out)
        assert "\n" not in code
        return code

    assert "folder must hold a model, got" in refusal(tmp_path / "none", tmp_path / "it")
    assert not (tmp_path / "it").exists()
    assert "path must be a file, got the folder" in refusal(tmp_path / "model", tmp_path)
    arguments = ["export", tmp_path / "model", "--to", "keras", "--out", tmp_path / "it"]
    assert command(monkeypatch, *arguments) == 1
    assert "torch" in capsys.readouterr().err
