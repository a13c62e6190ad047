"""`fcjax verify`: the library's own rules, and somebody else's function."""

import functools
import json
import re
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

pytest.importorskip("tyro")

from support import command_line

import fcjax
import fcjax.cli.verify as command
import fcjax_cli.options
from fcjax import activations, losses
from fcjax.cli.arguments import load_args, parse_shape
from fcjax.cli.rules import Case, Draw, built_in
from fcjax.verify import CHECKS, RuleReport

CASES = built_in()
MODULE = """
import jax, jax.numpy as jnp, numpy as np

def plain(x, w, labels, scale):
    return scale * jnp.sum((x @ w)[jnp.arange(len(labels)), labels])

wrong = jax.custom_vjp(plain, nondiff_argnums=(3,))
def fwd(x, w, labels, scale):
    return plain(x, w, labels, scale), (x, w, labels)
def bwd(scale, kept, dy):
    x, w, labels = kept
    dZ = jnp.zeros((x.shape[0], w.shape[1]), x.dtype)
    dZ = dZ.at[jnp.arange(len(labels)), labels].set(scale * dy)
    return dZ @ w.T, x.T @ dZ / 5, None
wrong.defvjp(fwd, bwd)

def product(x, w):
    return x @ w
of_one_shard = jax.custom_vjp(product)  # no psum over the devices that hold w
of_one_shard.defvjp(lambda x, w: (x @ w, (x, w)), lambda kept, dZ: (dZ @ kept[1].T, kept[0].T @ dZ))

@jax.custom_vjp
def rounded(x):
    return x**2
rounded.defvjp(lambda x: (x**2, x), lambda x, dy: (2.0001 * x * dy,))

def power(tree, exponent=1.0, *, name="sum"):
    return tree["scale"][0] * getattr(jnp, name)(tree["x"] ** exponent)

class Model:
    def loss(x):
        return jnp.sum(x.at[0].set(0) ** 2)

def point():
    return ({"x": np.full((3, 2), 0.3, np.float32), "scale": jnp.arange(1, 3)},), {"name": "mean"}
def tuple_of_one():
    return ({"x": jnp.full((3, 2), 0.3, jnp.float16), "scale": [2]},)
def numpy_arrays():
    return (np.linspace(0, 1, 5, dtype=np.float32),)
def an_array():
    return jnp.ones(3)
def raises(*args):
    raise ValueError("no such thing\\nand a second line")
def exits():
    raise SystemExit(0)
NUMBER = 3.0
"""


@pytest.fixture
def run(monkeypatch, capsys, tmp_path):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "own_rules.py").write_text(MODULE)
    for module in ("own_rules", "my_ops"):  # imported from the folder of another test
        monkeypatch.delitem(sys.modules, module, raising=False)

    return command_line(monkeypatch, capsys, "verify")


@pytest.fixture
def calls(monkeypatch):
    """What `check_rule` is called with, in place of what it does."""
    calls = []

    def check_rule(fun, args, **options):
        calls.append((fun, args, options))
        return RuleReport("f", "", ())

    monkeypatch.setattr(command, "check_rule", check_rule)
    return calls


def reports(path):
    return json.loads(path.read_text())


SHAPES = ["--shapes", "5x3", "3x2", "5:2", "0.5"]
CHECKS_OF_VALUES = ["--checks", "vjp", "finite_differences"]


# --- verdict and exit status ----------------------------------------------------------------------


def test_a_wrong_function_exits_with_1(run, tmp_path):
    code, out = run("own_rules:wrong", *SHAPES, *CHECKS_OF_VALUES, "--out", "report.json")
    assert code == 1
    assert "✗ vjp, w: an extra factor of 1/5" in out
    assert "\nwrong on " in out
    (report,) = reports(tmp_path / "report.json").values()
    assert report["verdict"] == "wrong"
    assert {r["argument"] for r in report["results"] if r["status"] == "failed"} == {"w"}


def test_a_right_function_exits_with_0(run, tmp_path):
    code, out = run("own_rules:plain", *SHAPES, *CHECKS_OF_VALUES, "--reference", "own_rules:plain")
    assert code == 0
    assert "\nright on " in out
    assert [r["verdict"] for r in reports(tmp_path / "out/verify.json").values()] == ["right"]


@pytest.mark.parametrize("options", [("--onli", "tanh"), ("--rtol", "abc")])
def test_a_mistyped_option_exits_with_1(run, options):
    assert run(*options)[0] == 1


def test_a_function_that_was_not_compared_exits_with_2(run, tmp_path):
    code, out = run("own_rules:wrong", *SHAPES, "--checks", "linearity")
    assert code == 2
    assert "? the gradient of w was not compared with an oracle" in out
    assert "\ninconclusive on " in out
    (report,) = reports(tmp_path / "out/verify.json").values()
    assert report["verdict"] == "inconclusive"
    assert len(report["doubts"]) == 2


def test_the_table_tells_the_verdicts_apart(run, monkeypatch):
    x = parse_shape("5")
    wrong = jax.custom_vjp(jnp.sin)
    wrong.defvjp(lambda x: (jnp.sin(x), x), lambda x, dy: (2 * dy * jnp.cos(x),))
    cases = [Case("one", fcjax.tanh, [x]), Case("other", jnp.sin, [x]), Case("third", wrong, [x])]
    monkeypatch.setattr(command, "built_in", lambda: cases)
    code, out = run("--checks", "vjp")
    assert code == 1, "whatever else is inconclusive"
    rows = {line.split()[1]: line.split() for line in out.splitlines() if "float32  " in line}
    assert [row[0] for row in rows.values()] == ["✓", "?", "✗"]
    assert [row[3] for row in rows.values()] == ["right", "inconclusive", "wrong"]
    assert rows["third,"][-1] == "vjp"
    assert "\n1 right, 1 wrong, 1 inconclusive on " in out
    assert out.count("sin(x: float32[5])") == 2, "the reports of those that are not right"
    monkeypatch.setattr(command, "built_in", lambda: cases[:2])
    assert run("--checks", "vjp")[0] == 2


@pytest.mark.skipif(len(jax.devices()) < 2, reason="needs two devices")
def test_a_finding_is_shown_and_changes_no_status(run, monkeypatch, tmp_path):
    arguments = ["own_rules:of_one_shard", "--shapes", "4x3", "3x5"]
    code, out = run(*arguments)
    assert code == 0
    assert "! sharding, w: " in out
    (report,) = reports(tmp_path / "out/verify.json").values()
    assert "noted" in {result["status"] for result in report["results"]}
    rule = sys.modules["own_rules"].of_one_shard
    args = [parse_shape(text) for text in arguments[2:]]
    cases = [Case("product", rule, args), Case("tanh", fcjax.tanh, args[:1])]
    monkeypatch.setattr(command, "built_in", lambda: cases)
    code, out = run()
    assert code == 0
    assert "(sharding)" in out
    assert "product, float32:\n! sharding, w: " in out
    assert run(*arguments, "--checks", "sharding", "vjp")[0] == 1, "it counts where asked for"


# --- arguments from their shapes ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "shape", "dtype", "low", "high"),
    [
        ("500x3", (500, 3), "float32", -6, 6),
        ("500x3@0:1", (500, 3), "float32", 0, 1),
        ("500@-2:-1", (500,), "float32", -2, -1),
        ("500@0.1:2.5e-1", (500,), "float32", 0.1, 0.25),
        ("500:4", (500,), "int32", 0, 3),
        ("50x3:2:7", (50, 3), "int32", 2, 6),
        ("500:-2:1", (500,), "int32", -2, 0),
        ("scalar", (), "float32", -6, 6),
        ("scalar@3:4", (), "float32", 3, 4),
        ("scalar:5", (), "int32", 0, 4),
        ("3", (3,), "float32", -6, 6),
        ("0x3", (0, 3), "float32", 0, 0),
    ],
)
def test_a_shape_is_drawn(text, shape, dtype, low, high):
    array = parse_shape(text)(np.random.default_rng(0), "float32")
    assert (array.shape, array.dtype) == (shape, dtype)
    assert array.size == 0 or low <= array.min() <= array.max() <= high
    if array.size > 100:
        reached = (array.max() - array.min()) / (high - low)
        assert reached > (0.4 if high == 6 else 0.9)
    if dtype == "int32" and array.size > 100:
        assert set(np.unique(array)) == set(range(low, high + 1))


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("0.5", 0.5),
        ("-0.5", -0.5),
        ("1e-3", 1e-3),
        ("=3", 3),
        ("=-3", -3),
        ("=0.5", 0.5),
        ("=True", True),
        ("=None", None),
        ("=name", "name"),
        ("='3'", "3"),
        ("=(1, 2)", (1, 2)),
        ("=a=b", "a=b"),
    ],
)
def test_a_python_value_is_passed_as_it_is(text, value):
    got = parse_shape(text)
    assert got == value
    assert type(got) is type(value)


def test_all_kinds_of_arguments_reach_the_function(run, calls):
    texts = ["scalar", "5:4", "=3", "=True", "=None", "=name", "=(1,2)", "-0.5", "3@-2:-1"]
    code, _ = run("builtins:print", "--shapes", *texts, "--dtypes", "bfloat16", "float64")
    assert code == 0
    (_, narrow, _), (_, wide, _) = calls
    assert narrow[2:8] == (3, True, None, "name", (1, 2), -0.5)
    assert [x.dtype for x in (*narrow[:2], narrow[8])] == ["bfloat16", "int32", "bfloat16"]
    assert [x.dtype for x in (*wide[:2], wide[8])] == ["float64", "int32", "float64"]


def test_a_function_with_no_value_in_places_is_not_wrong(run):
    code, out = run("jax.numpy:log", "--shapes", "5x3", *CHECKS_OF_VALUES)
    assert code in (0, 2)
    assert "✗" not in out
    code, out = run("jax.numpy:log", "--shapes", "5x3@0.1:2", *CHECKS_OF_VALUES)
    assert code == 0
    assert "\nright on " in out


# --- other arguments ------------------------------------------------------------------------------


def test_arguments_from_a_json_file(tmp_path):
    tree = {"w": [[0.5, 1], [2, 3]], "name": "sum", "layers": [[[1.0]], [2, 3]], "empty": []}
    listed = [tree, [1, 2, 3], 0.5, 3, True, None, [True, None], [[1, 2], [3]]]
    path = tmp_path / "point.json"
    path.write_text(json.dumps(listed))
    args, kwargs = Case("", max, *load_args(str(path), ())).drawn(0, "bfloat16")
    assert not kwargs
    first, labels, *values, ragged = args
    assert first["w"].dtype == "bfloat16"
    np.testing.assert_array_equal(first["w"], tree["w"])
    assert [x.dtype for x in first["layers"]] == ["bfloat16", "int32"]
    assert (first["name"], first["empty"]) == ("sum", [])
    assert labels.dtype == "int32"
    assert values == [0.5, 3, True, None, [True, None]]
    assert [x.tolist() for x in ragged] == [[1, 2], [3]]


def test_a_function_is_checked_at_a_json_file(run, tmp_path):
    point = [{"x": [[0.5, 1], [2, 3]], "scale": [2, 3]}, 2.0]
    (tmp_path / "point.json").write_text(json.dumps(point))
    checks = ["--checks", "finite_differences"]
    code, out = run("own_rules:power", "--args", "point.json", *checks)
    assert code == 0
    assert "power(tree['scale']: int32[2], tree['x']: float32[2, 2], exponent: 2.0)" in out
    code, out = run("own_rules:power", "--args", "point.json", *checks, "--dtypes", "float64")
    assert code == 0
    assert "tree['x']: float64[2, 2]" in out


def test_arguments_from_a_function(run, tmp_path):
    checks = ["--checks", "finite_differences"]
    code, out = run("own_rules:power", "--args", "own_rules:point", *checks)
    assert code == 0
    assert "tree['x']: float32[3, 2], name: 'mean')" in out
    assert list(reports(tmp_path / "out/verify.json")) == ["own_rules:power"]
    code, out = run("own_rules:power", "--args", "own_rules:tuple_of_one", "--checks", "vjp")
    assert code == 2
    assert "tree['x']: float16[3, 2])" in out, "the arrays keep their dtypes"
    arguments = ["own_rules:power", "--args", "own_rules:tuple_of_one", "--dtypes", "float32"]
    code, out = run(*arguments, *checks)
    assert code == 0
    assert "tree['x']: float32[3, 2])" in out, "unless others are named"
    code, _ = run("own_rules:Model.loss", "--args", "own_rules:numpy_arrays", *checks)
    assert code == 0, "arrays of NumPy become those of JAX"


# --- how it is checked ----------------------------------------------------------------------------


def test_options_are_those_of_check_rule(run, calls):
    options = ["--rtol", "1e-6", "--atol", "1e-7", "--time-limit", "60", "--seed", "3"]
    options += ["--checks", "vjp", "jit"]
    expected = ["--expected-failures", "vjp=w", "vjp=x", "linearity", "jit=x", "jit"]
    assert run("own_rules:wrong", *SHAPES, *options, *expected)[0] == 0
    ((_, _, got),) = calls
    assert (got["rtol"], got["atol"], got["time_limit"]) == (1e-6, 1e-7, 60)
    assert got["checks"] == ("vjp", "jit")
    assert got["expected_failures"] == {"vjp": ["w", "x"], "linearity": True, "jit": True}
    assert jax.random.key_data(got["key"]).tolist() == [0, 3]
    assert run("own_rules:wrong", *SHAPES)[0] == 0
    *_, got = calls[-1]
    assert [got[name] for name in ("rtol", "atol", "time_limit", "checks")] == [None] * 4


def test_a_tolerance_lets_pass_what_it_covers(run):
    arguments = ["own_rules:rounded", "--shapes", "5", "--checks", "vjp"]
    assert run(*arguments)[0] == 1
    assert run(*arguments, "--rtol", "1e-3")[0] == 0


def test_without_time_the_verdict_is_inconclusive(run):
    code, out = run("own_rules:rounded", "--shapes", "5", "--time-limit", "0")
    assert code == 2
    assert "– vjp: left out: the time limit has passed" in out


def test_an_expected_failure_is_right(run):
    arguments = ["own_rules:wrong", *SHAPES, *CHECKS_OF_VALUES]
    code, out = run(*arguments, "--expected-failures", "vjp=w")
    assert code == 0
    assert "≈ vjp, w" in out
    code, out = run(*arguments, "--expected-failures", "vjp=w", "vjp=x")
    assert code == 0
    assert "! vjp, x: expected to fail, but passed" in out
    assert run(*arguments, "--expected-failures", "vjp=x")[0] == 1


def test_the_help_has_every_check_and_an_example_of_every_option(run):
    code, out = run("--help")
    assert code == 0
    assert set(re.findall(r"\w+", out)) >= set(CHECKS)
    assert tuple(CHECKS) == fcjax_cli.options.CHECKS
    options = set(re.findall(r"^\W*(--[a-z][a-z-]+)", out, re.M)) - {"--atol", "--out", "--seed"}
    assert len(options) == 11
    examples = [line for line in out.splitlines() if line.startswith("  fcjax verify")]
    assert [option for option in options if f" {option}" not in "\n".join(examples)] == []


def test_the_examples_of_the_help_run(run, calls, monkeypatch, tmp_path):
    (tmp_path / "my_ops.py").write_text(
        "import jax.numpy as jnp\n"
        "def affine(x, w, b): return x @ w + b\n"
        "def loss(x, w, labels, scale, smoothing, reduction='sum'):\n"
        "    return getattr(jnp, reduction)(scale * (x @ w)[jnp.arange(5), labels])\n"
        "plain_loss = loss\n"
        "def point(): return jnp.ones((5, 3)), jnp.ones((3, 4)), jnp.arange(5) % 4, 2.0, 0.5\n"
        "def clip(x): return x\n"
        "solve = jnp.linalg.solve\n"
    )
    point = [np.ones((5, 3)).tolist(), np.ones((3, 4)).tolist(), [0, 1, 2, 3, 0], 2.0, 0.5]
    (tmp_path / "point.json").write_text(json.dumps(point))
    monkeypatch.setattr(command, "_verify_exhaustively", lambda *arguments: 0)
    _, out = run("--help")
    examples = [line.split()[2:] for line in out.splitlines() if line.startswith("  fcjax verify")]
    assert len(examples) > 8
    assert [example for example in examples if run(*example)[0] != 0] == []
    assert len(calls) > len(built_in())


# --- the library ----------------------------------------------------------------------------------


def test_the_built_in_rules(run, tmp_path):
    code, out = run("--only", "relu", "--checks", "vjp", "kinks", "--dtypes", "float32", "bfloat16")
    assert code == 0
    found = reports(tmp_path / "out/verify.json")
    names = [case.name for case in built_in() if "relu" in case.name]
    assert list(found) == [f"{n}, {d}" for n in names for d in ("float32", "bfloat16")]
    assert {report["verdict"] for report in found.values()} == {"right"}
    assert f"all {len(found)} are right on" in out


@pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])
@pytest.mark.in_turn(15)
def test_a_built_in_rule_is_right_where_the_search_looks(case):
    args, kwargs = case.drawn(0, "float32")
    report = fcjax.check_rule(case.fun, args, kwargs=kwargs, kinks=case.kinks)
    assert report.verdict == "right", str(report)


def test_every_number_of_a_dtype(run, tmp_path):
    arguments = ["--exhaustive", "--only", "tanh", "--dtypes", "bfloat16", "float16"]
    code, out = run(*arguments)
    assert code == 0
    assert "tanh, all 65536 inputs of bfloat16: right" in out
    assert "all 4 are right" in out  # tanh and hard_tanh, in two dtypes
    assert (tmp_path / "out/exhaustive-tanh-bfloat16.json").exists()
    assert len(reports(tmp_path / "out/verify.json")) == 4
    assert run(*arguments)[0] == 0, "goes on with what is known"


def test_a_wrong_number_of_a_dtype_exits_with_1(run, monkeypatch):
    strict = functools.partial(command.check_elementwise, tolerance=1e-9)
    monkeypatch.setattr(command, "check_elementwise", strict)
    code, out = run("--exhaustive", "--only", "soft_sign", "--dtypes", "bfloat16")
    assert code == 1
    assert "wrong: soft_sign, bfloat16" in out


def test_every_public_rule_is_built_in():
    names = " ".join(case.name for case in built_in())
    rules = [*activations.ACTIVATIONS, "dense", "layer_norm", "rms_norm", "dropout", "mlp"]
    rules += ["scale", "ensemble_dense", "grouped_dense", "piecewise_linear_encoding", "parametric"]
    rules += [
        name for name in vars(losses) if not name.startswith("_") and callable(vars(losses)[name])
    ]
    assert len(rules) > 35
    assert [name for name in rules if name not in names] == []


def test_functions_among_the_arguments_are_not_drawn():
    args, _ = Case("", max, (jnp.tanh, Draw(lambda rng: rng.random(3)))).drawn(0, "float32")
    assert args[0] is jnp.tanh
    assert args[1].shape == (3,)


# --- mistakes -------------------------------------------------------------------------------------

OWN = ["own_rules:wrong"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (OWN, "shapes: got none; accepted: one for each argument"),
        (["own_rules", *SHAPES], "target: 'own_rules' must have the form package.module:function"),
        (["own_rules:absent", *SHAPES], "target: own_rules has no function 'absent'"),
        (["own_rules:Model.no", *SHAPES], "target: own_rules has no function 'Model.no'"),
        (["own_rules:NUMBER", *SHAPES], "own_rules:NUMBER must be a function, got float"),
        (["absent_module:f", *SHAPES], "No module named 'absent_module'"),
        (["of_no_syntax:f", *SHAPES], "of_no_syntax cannot be imported: SyntaxError"),
        (["of_no_import:f", *SHAPES], "No module named 'there_is_no_such'"),
        (["that_exits:f", *SHAPES], "that_exits cannot be imported: SystemExit"),
        (["own_rules:raises", "--shapes", "3"], "raised at these arguments: ValueError: no such"),
        ([*OWN, "--shapes", "5x3"], "args must fit plain(x, w, labels, scale): missing"),
        ([*OWN, "--shapes", "5x3", "2x2", "5:2", "0.5"], "wrong raised at these arguments: Type"),
        ([*OWN, "--shapes", "5y3"], "shapes: got '5y3'; accepted: 5x3, 5x3@0:1, 5:4"),
        ([*OWN, "--shapes", ""], "shapes: got ''; accepted"),
        ([*OWN, "--shapes", "="], "shapes: got '='; accepted"),
        ([*OWN, "--shapes", "-3"], "shapes: got '-3'; accepted"),
        ([*OWN, "--shapes", "5x"], "shapes: got '5x'; accepted"),
        ([*OWN, "--shapes", "5@0"], "shapes: got '5@0'; accepted"),
        ([*OWN, "--shapes", "5@0:1:2"], "shapes: got '5@0:1:2'; accepted"),
        ([*OWN, "--shapes", "5@1:0"], "shapes: got '5@1:0', the interval from 1 to 0"),
        ([*OWN, "--shapes", "5:0"], "shapes: got '5:0', the interval from 0 to 0"),
        ([*OWN, "--shapes", "5:3000000000"], "both within ±2.14748e+09"),
        (["own_rules:rounded", "--shapes", "5:4"], "at least one floating-point array"),
        ([*OWN, *SHAPES, "--args", "list.json"], "args: got --shapes as well"),
        ([*OWN, "--args", "absent.json"], "args: absent.json: No such file"),
        ([*OWN, "--args", "broken.json"], "args: broken.json is not JSON"),
        ([*OWN, "--args", "dict.json"], "args: dict.json must hold a list of the arguments"),
        ([*OWN, "--args", "large.json"], "args: integers must fit into int32, got 9999999999"),
        ([*OWN, "--args", "nonsense"], "args: got 'nonsense'; accepted: FILE.json, package"),
        ([*OWN, "--args", "own_rules:absent"], "args: own_rules has no function 'absent'"),
        ([*OWN, "--args", "own_rules:an_array"], "args: own_rules:an_array must return a tuple"),
        ([*OWN, "--args", "own_rules:raises"], "args: own_rules:raises raised: ValueError: no"),
        ([*OWN, "--args", "own_rules:exits"], "args: own_rules:exits raised: SystemExit"),
        ([*OWN, *SHAPES, "--reference", "own_rules:absent"], "reference: own_rules has no"),
        ([*OWN, *SHAPES, "--reference", "own_rules:raises"], "reference must take the arguments"),
        ([*OWN, *SHAPES, "--expected-failures", "vjp="], "expected_failures: got 'vjp='"),
        ([*OWN, *SHAPES, "--expected-failures", "vjp=z"], "expected_failures: 'z' is not an arg"),
        ([*OWN, *SHAPES, "--expected-failures", "vpj"], "expected_failures: 'vpj' is unknown"),
        ([*OWN, *SHAPES, "--rtol", "-1"], "rtol must be finite and not negative"),
        ([*OWN, *SHAPES, "--time-limit", "nan"], "time_limit must be finite"),
        ([*OWN, *SHAPES, "--only", "relu"], "only: applies to fcjax's own rules only"),
        ([*OWN, *SHAPES, "--exhaustive"], "exhaustive: applies to fcjax's own rules only"),
        ([*OWN, *SHAPES, "--out", "."], "out: . is a folder"),
        (["--shapes", "3"], "shapes: needs a target"),
        (["--args", "list.json"], "args: needs a target"),
        (["--expected-failures", "vjp=x"], "expected_failures: needs a target"),
        (["--exhaustive", "--only", "dense"], "no elementwise activation has 'dense'"),
        (["--exhaustive", "--checks", "vjp"], "checks: has no effect on an exhaustive"),
        (["--only", "nothing"], "no built-in rule has 'nothing' in its name"),
        (["--only", "relu", "--checks", "vpj"], "checks: 'vpj' is unknown"),
        (["--only", "relu", "--dtypes", "float33"], "dtypes: 'float33' is unknown; did you mean"),
        (["--only", "relu", "--seed", "-1"], "seed: got -1; accepted"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_wrong_arguments_are_explained_in_one_line(arguments, message, run, tmp_path, unchecked):
    (tmp_path / "of_no_syntax.py").write_text("def f(:")
    (tmp_path / "of_no_import.py").write_text("import there_is_no_such")
    (tmp_path / "that_exits.py").write_text("raise SystemExit(0)")
    (tmp_path / "list.json").write_text("[[1.0]]")
    (tmp_path / "broken.json").write_text("[1,")
    (tmp_path / "dict.json").write_text('{"x": 1}')
    (tmp_path / "large.json").write_text("[[9999999999]]")
    code, _ = run(*arguments)
    assert isinstance(code, str), "Python prints it to stderr and exits with 1"
    assert message in code
    assert "\n" not in code
