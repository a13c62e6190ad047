"""The audit: every rule that a program calls is noticed, and checked at real arguments."""

import dataclasses
import functools
import gc
import json
import subprocess
import sys
import textwrap
import weakref
from xml.etree import ElementTree

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from support import long

import fcjax
from fcjax.audit import Audit, Finding, Listener, Rule, audited
from fcjax.audit.listener import FUNCTIONS
from fcjax.verify import RuleReport

RULES = """
import jax
import jax.numpy as jnp
import numpy as np


@jax.custom_vjp
def square(x):
    return x * x

square.defvjp(lambda x: (x * x, x), lambda x, dy: (2 * x * dy,))


@jax.custom_vjp
def cube(x):
    return x**3

# wrong for negative numbers
cube.defvjp(lambda x: (x**3, x), lambda x, dy: (3 * x * jnp.abs(x) * dy,))


@jax.custom_jvp
def double(x):
    return 2 * x

@double.defjvp
def double_jvp(primals, tangents):
    return double(*primals), 2 * tangents[0]


@jax.custom_vjp
def unused(x):
    return x

unused.defvjp(lambda x: (x, ()), lambda kept, dy: (dy,))
"""

TESTS = """
import jax
import jax.numpy as jnp
import numpy as np
import rules

X = jnp.asarray(np.random.default_rng(0).uniform(0.5, 2, (5, 3)), jnp.float32)

def test_square_under_jit():
    assert np.allclose(jax.jit(lambda x: rules.square(x))(X), X * X)

def test_cube_under_grad_vmap_and_scan():
    def loss(x):
        def add(total, row):
            return total + jnp.sum(jax.vmap(rules.cube)(row)), None

        return jax.lax.scan(add, 0.0, x)[0]
    assert np.allclose(jax.jit(jax.grad(loss))(X), 3 * X**2, rtol=1e-4)

def test_double():
    assert jax.grad(rules.double)(1.0) == 2
"""


@pytest.fixture
def project(tmp_path):
    (tmp_path / "rules.py").write_text(RULES)
    (tmp_path / "test_rules.py").write_text(TESTS)
    (tmp_path / "script.py").write_text(
        "import sys, rules, jax.numpy as jnp\n"
        "print(sys.argv, float(rules.square(jnp.array(3.0))))\n"
        "if 'cube' in sys.argv: rules.cube(jnp.ones(3))\n"
        "if 'fail' in sys.argv: sys.exit(7)\n"
    )
    return tmp_path


def run(project, *arguments):
    return subprocess.run(
        [sys.executable, *arguments], cwd=project, capture_output=True, text=True, check=False
    )


def test_a_test_suite_runs_unchanged_and_its_rules_are_checked(project):
    done = run(
        project, "-m", "fcjax", "audit", "--json", "a.json", "--junit", "a.xml", "--",
        "pytest", "-q", "-p", "no:cacheprovider", "test_rules.py",
    )  # fmt: skip
    assert done.returncode == 1, done.stdout + done.stderr
    assert "3 passed" in done.stdout
    assert "✗ cube (" in done.stdout
    assert "3 rules were called: 1 wrong, 2 right" in done.stdout
    assert "defined and never called, 1:\n  unused" in done.stdout
    audit = Audit.from_dict(json.loads((project / "a.json").read_text()))
    by_name = {rule.name: rule for rule in audit.rules}
    assert {name: rule.verdict for name, rule in by_name.items()} == {
        "square": "right", "cube": "wrong", "double": "right", "unused": "never called",
    }  # fmt: skip
    line = RULES.splitlines().index(
        "cube.defvjp(lambda x: (x**3, x), lambda x, dy: (3 * x * jnp.abs(x) * dy,))"
    )
    assert by_name["cube"].source == f"{project / 'rules.py'}:{line + 1}"
    # real numbers of each example, which vmap and scan have inside a compiled program
    assert by_name["cube"].forms == ("float32[]",)
    cases = ElementTree.parse(project / "a.xml").getroot()
    assert cases.attrib["failures"] == "1"
    assert [case.attrib["name"] for case in cases if case.find("failure") is not None] == ["cube"]


def test_the_plugin_works_by_itself_and_with_several_workers(project):
    alone = run(project, "-m", "pytest", "-q", "-p", "fcjax.audit", "test_rules.py")
    assert "3 rules were called: 1 wrong, 2 right" in alone.stdout, alone.stdout + alone.stderr
    assert alone.returncode == 1
    workers = run(
        project, "-m", "pytest", "-q", "-n", "2", "-p", "fcjax.audit", "test_rules.py",
        "--audit-json", "a.json",
    )  # fmt: skip
    assert "3 rules were called: 1 wrong, 2 right" in workers.stdout, workers.stdout
    assert len(json.loads((project / "a.json").read_text())["rules"]) == 4
    assert "fcjax audit" not in run(project, "-m", "pytest", "-q", "test_rules.py").stdout


@pytest.mark.in_turn(3)
@pytest.mark.parametrize(
    ("arguments", "status"),
    [([], 0), (["cube"], 1), (["fail"], 7)],
    ids=["right", "wrong", "fails"],
)
def test_a_script_keeps_its_arguments_and_its_exit_status(project, arguments, status):
    done = run(project, "-m", "fcjax", "audit", "script.py", *arguments)
    assert done.returncode == status, done.stdout + done.stderr
    # the output of the program is its own
    assert done.stdout == f"['script.py'{''.join(f', {name!r}' for name in arguments)}] 9.0\n"
    assert "square (" in done.stderr


def test_a_rule_may_be_wrong_on_purpose(project):
    names = "cube,square,other"
    done = run(project, "-m", "fcjax", "audit", "--expected", names, "script.py", "cube")
    assert done.returncode == 0, done.stdout + done.stderr
    said = done.stderr.splitlines()
    assert said[0].startswith("≈ cube (")
    assert said[1].startswith("✓ square (")  # what is wrong on purpose has one line
    assert said[said.index("2 rules were called: 1 wrong on purpose, 1 right") :] == [
        "2 rules were called: 1 wrong on purpose, 1 right",
        "expected: square is not wrong, but right",
        "expected: no rule with the name 'other' was called",
    ]


@pytest.mark.in_turn(4)
@pytest.mark.parametrize(
    ("last", "status", "said"),
    [
        ("import os; sys.stdout.flush(); os.close(1)", 0, ""),
        ("import sys; sys.stdout.close()", 0, ""),
        ("sys.stdout = None", 0, ""),
        ("import os; os.close(2)", 0, ""),
        ("sys.stderr.close()", 0, ""),
        ("sys.stderr = None", 0, ""),
        ("raise KeyboardInterrupt", 130, ""),
        ("1 / 0", 1, 'Traceback (most recent call last):\n  File "{}/end.py", line 4, in <module>'),
    ],
)
def test_a_program_may_end_as_it_likes(project, last, status, said):
    (project / "end.py").write_text(f"import rules, sys\nrules.square(3.0)\nprint(1)\n{last}\n")
    done = run(project, "-m", "fcjax", "audit", "end.py")
    assert done.returncode == status, done.stdout + done.stderr
    assert done.stdout == "1\n"
    assert done.stderr.startswith(said.format(project) or "✓ square (")
    assert done.stderr.endswith("\n1 rule was called: 1 right\n")


def test_a_module_that_does_not_exist_is_named(project):
    done = run(project, "-m", "fcjax", "audit", "-m", "nowhere")
    assert done.returncode == 1
    first, *report = done.stderr.splitlines()
    assert first == f"{sys.executable}: No module named nowhere"
    assert report[0].startswith("no hand-written rule was called or defined in this process")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "command: name pytest, a script or -m and a module, got nothing"),
        (["--json", "nowhere/a.json", "script.py"], "json: nowhere/a.json cannot be written"),
        (["missing.py"], "command: missing.py is no file; accepted: pytest, a script"),
        (["--time-limit", "-1", "script.py"], "time-limit must be positive, got -1.0"),
    ],
)
def test_wrong_commands_are_named(project, arguments, message):
    done = run(project, "-m", "fcjax", "audit", *arguments)
    assert done.returncode == 1
    assert message in done.stdout + done.stderr
    assert "Traceback" not in done.stderr


# --- listening ----------------------------------------------------------------------------------


@jax.custom_vjp
def scaled(x, factor, key):
    return x * factor + jax.random.normal(key, x.shape)


scaled.defvjp(
    lambda x, factor, key: (scaled(x, factor, key), factor),
    lambda factor, dy: (dy * factor, None, None),
)
X = jnp.arange(6.0).reshape(3, 2)


def only(listener):
    (heard,) = listener.heard
    return heard


def forms_of(heard):
    (function,) = heard.functions.values()
    return list(function.forms.values())


def test_the_numbers_of_traced_arguments_are_taken_out():
    with Listener() as listener:
        jax.jit(jax.grad(lambda x, key: jnp.sum(scaled(x, 3, key))))(X, jax.random.key(5))
    (form,) = forms_of(only(listener))
    x, factor, key = form.calls[0].args
    np.testing.assert_array_equal(x, X)
    assert factor == 3
    np.testing.assert_array_equal(key.words, jax.random.key_data(jax.random.key(5)))


def test_a_few_calls_that_differ_in_form_are_kept():
    with Listener() as listener:
        for n in (1, 2, 3, 4, 5, 6):
            for _ in range(5):
                fcjax.tanh(jnp.ones(n))
    heard = only(listener)
    assert heard.count == 30
    assert [len(form.calls) for form in forms_of(heard)] == [1, 1, 1, 1]
    (rule,) = audited(listener).rules[:1]
    assert rule.verdict == "right"
    assert rule.forms == tuple(f"float32[{n}]" for n in (1, 2, 3, 4))
    assert "traced 30 times, 10 of them in other forms" in str(Audit((rule,)))


def test_what_is_traced_and_never_run_is_checked_at_random_numbers():
    with Listener() as listener:
        jax.eval_shape(fcjax.tanh, X)
    (rule,) = [rule for rule in audited(listener).rules if rule.calls]
    assert rule.verdict == "right"
    assert rule.forms == ("float32[3, 2], with random numbers",)


def test_nothing_is_changed_while_nobody_listens():
    before = jax.custom_vjp.__call__, jax.custom_jvp.__call__
    with Listener(callbacks=False) as listener:
        assert jax.custom_vjp.__call__ is not before[0]
        program = jax.make_jaxpr(lambda x: fcjax.tanh(x))(X)
    assert (jax.custom_vjp.__call__, jax.custom_jvp.__call__) == before
    assert "callback" not in str(program)
    assert only(listener).count == 1


def test_a_callback_does_not_change_what_a_program_computes():
    def loss(x):
        rows = jax.vmap(fcjax.softmax)(x)
        return jnp.sum(jax.checkpoint(fcjax.tanh)(rows) ** 2)

    want = jax.jit(jax.value_and_grad(loss))(X)
    with Listener():
        got = jax.jit(jax.value_and_grad(lambda x: loss(x)))(X)
        twice = jax.hessian(lambda x: loss(x.reshape(X.shape)))(X.ravel())
    jax.tree.map(np.testing.assert_array_equal, got, want)
    assert np.isfinite(twice).all()


def test_large_arguments_and_passed_time_are_said():
    with Listener() as listener:
        fcjax.tanh(jnp.ones(2**21))
        fcjax.relu(jnp.ones(3))
    rules = {rule.name: rule for rule in audited(listener, time_limit=1e-9).rules}
    assert rules["tanh"].verdict == rules["relu"].verdict == "inconclusive"
    assert rules["tanh"].findings[0].text == "too many numbers to check"
    assert rules["relu"].findings[0].text == "the time limit has passed"
    assert (rules["tanh"].is_cut, rules["relu"].is_cut) == (False, True)


def test_a_rule_that_closes_over_a_traced_number_is_inconclusive():
    @jax.jit
    def outer(x, c):
        @jax.custom_vjp
        def times_c(x):
            return x * c

        times_c.defvjp(lambda x: (x * c, ()), lambda kept, dy: (dy * c,))
        return times_c(x)

    with Listener() as listener:
        outer(X, jnp.asarray(3.0))
    (rule,) = [rule for rule in audited(listener).rules if rule.calls]
    assert rule.verdict == "inconclusive"
    assert "closes over a value" in rule.findings[0].text


def test_numbers_of_64_bits_stay_so():
    with jax.enable_x64(True), Listener() as listener:
        fcjax.tanh(jnp.asarray(np.linspace(-1, 1, 5)))
    (rule,) = [rule for rule in audited(listener).rules if rule.calls]
    assert (rule.verdict, rule.forms) == ("right", ("float64[5]",))


def test_python_numbers_are_arrays_unless_they_are_static():
    given = []

    def cubed(x, p):
        given.append(p)
        return x**p

    power = jax.custom_vjp(cubed, nondiff_argnums=(1,))
    power.defvjp(lambda x, p: (cubed(x, p), x), lambda p, x, dy: (p * x ** (p - 1) * dy,))
    with Listener() as listener:
        for x in (2.0, 2.5, 3.0):
            power(x, p=3.0)
    assert only(listener).count == 3
    assert {type(p) for p in given} == {float}
    (rule,) = audited(listener).rules
    assert (rule.verdict, rule.left_out, len(rule.forms)) == ("right", 0, 1)


def test_listening_leaks_no_tracer():
    # as the tests of numpyro 0.22 check of themselves
    double = jax.custom_vjp(lambda x: 2 * x)
    double.defvjp(lambda x: (2 * x, None), lambda _, dy: (2 * dy,))
    with Listener() as listener, jax.checking_leaks():
        for x in (X, X + 1):
            jax.block_until_ready(jax.jit(jax.grad(lambda x: jnp.sum(double(x))))(x))
    assert len(only(listener).functions) == 1
    (rule,) = [rule for rule in audited(listener).rules if rule.calls]
    assert rule.verdict == "right"


def test_rules_of_jax_are_audited_too():
    with Listener() as listener:
        jax.nn.relu(X)
    (rule,) = [rule for rule in audited(listener).rules if rule.calls]
    assert rule.is_jaxs_own
    assert rule.verdict == "right", rule
    assert "JAX's own" in str(Audit((rule,)))


def test_what_several_processes_say_is_merged():
    one = Rule("f", "a.py:1", "a", False, "right", 2, ("float32[2]",))
    two = Rule("f", "a.py:1", "a", False, "wrong", 3, ("float32[3]",))
    (merged,) = Audit.of([one, two]).rules
    assert (merged.verdict, merged.calls) == ("wrong", 5)
    assert merged.forms == ("float32[2]", "float32[3]")
    assert textwrap.dedent(str(Audit((merged,)))).startswith("✗ f (a.py:1), traced 5 times")


# --- rules that a factory makes -------------------------------------------------------------------


def scaled_square(k, wrong_at=None):
    @jax.custom_vjp
    def f(x):
        return k * x**2

    f.defvjp(lambda x: (k * x**2, x), lambda x, dy: ((3 if k == wrong_at else 2) * k * x * dy,))
    return f


def heard_of(functions, x=1.5):
    with Listener() as listener:
        for f in functions:
            jax.grad(f)(x)
    return listener


def called(audit):
    (rule,) = [rule for rule in audit.rules if rule.calls]
    return rule


def test_each_function_of_a_factory_is_checked():
    rule = called(audited(heard_of(scaled_square(float(k), 4.0) for k in range(1, 6))))
    assert rule.verdict == "wrong"
    assert {finding.form for finding in rule.findings} == {
        "float32[], with k = 4.0, wrong_at = 4.0"
    }
    assert (rule.calls, rule.functions, rule.unchecked, rule.left_out) == (5, 5, 0, 0)


def test_the_functions_that_the_time_does_not_allow_are_counted(monkeypatch):
    clock = iter(range(1000))
    monkeypatch.setattr("fcjax.audit.verdicts.time.monotonic", lambda: next(clock))
    passed = RuleReport("f", "", ())
    monkeypatch.setattr("fcjax.audit.verdicts.check_rule", lambda *_, **__: passed)
    audit = audited(heard_of(scaled_square(float(k)) for k in range(1, 31)), time_limit=14)
    rule = called(audit)
    assert 0 < rule.unchecked < 30
    assert rule.left_out == rule.unchecked
    assert f"; {rule.unchecked} of 30 functions of this rule were not checked" in str(audit)
    assert audit.status == 2


@pytest.mark.parametrize(
    ("make", "distinct"),
    [
        (lambda i: 2.0, 1),
        (lambda i: -1.0 - i % 2, 2),
        (lambda i: [1.0, 1, True, 0.0, -0.0][i % 5], 5),
        (lambda i: jnp.asarray(3.0), 1),
        (lambda i: np.asarray([1.0, 2.0 + i % 2])[1], 2),
        (lambda i: jax.random.key(0), 40),  # cannot be compared
        (lambda i: {"w": (jnp.asarray(i % 3),)}, 3),
        (lambda i: (lambda j: lambda: j)(i % 4), 4),
        (lambda i: (lambda j: jax.jit(lambda: j))(i % 4), 4),
        (lambda i: functools.partial(pow, i % 5), 5),
        (lambda i: Fixed(i % 3), 3),
        (lambda i: object(), 40),
        (lambda i: scaled_square(i % 6), 6),
    ],
)
def test_functions_that_close_over_the_same_are_one(make, distinct):
    def factory(value):
        @jax.custom_vjp
        def f(x):
            assert value is not None
            return x

        def fwd(x):
            return f(x), value is None  # refers to itself

        f.defvjp(fwd, lambda kept, dy: (dy,))
        return f

    heard = only(heard_of(factory(make(i)) for i in range(40)))
    assert heard.distinct == distinct
    assert len(heard.functions) == min(distinct, FUNCTIONS)


@dataclasses.dataclass(frozen=True)
class Fixed:
    value: int


def test_functions_of_methods_differ_by_their_object():
    class Scale:
        def __init__(self, k):
            self.k = k
            self.rule = jax.custom_vjp(self.call)
            self.rule.defvjp(lambda x: (self.call(x), None), self.backward)

        def call(self, x):
            return self.k * x

        def backward(self, kept, dy):
            return ((4.0 if self.k == 3.0 else self.k) * dy,)

    assert called(audited(heard_of(Scale(k).rule for k in (1.0, 2.0, 3.0, 5.0)))).verdict == "wrong"


def test_functions_that_are_not_kept_are_freed_and_those_kept_are_spread():
    made = []

    def functions():
        for k in range(200):
            f = scaled_square(float(k))
            made.append(weakref.ref(f))
            yield f

    heard = only(heard_of(functions()))
    jax.clear_caches()
    gc.collect()
    alive = [k for k, f in enumerate(made) if f() is not None]
    assert heard.distinct == 200
    assert len(alive) <= FUNCTIONS + 1  # the last one is still named
    assert alive[0] == 0
    assert sum(k >= 100 for k in alive) > 8


def test_functions_with_large_arrays_are_not_all_kept():
    shared = jnp.ones(2**19)

    def factory(k, *arrays):
        f = jax.custom_vjp(lambda x: x * k)
        f.defvjp(lambda x: (x * k, arrays and None), lambda kept, dy: (dy * k,))
        return f

    assert len(only(heard_of(factory(k, shared) for k in range(6))).functions) == 6
    own = (factory(k, jnp.ones(2**19)) for k in range(6))
    assert len(only(heard_of(own)).functions) == 3


# --- what is printed and returned -----------------------------------------------------------------


def test_the_exit_status_is_2_if_the_time_was_over(project):
    few = ("--time-limit", "0.001", "--no-callbacks")
    done = run(project, "-m", "fcjax", "audit", *few, "script.py", "cube")
    assert done.returncode == 2, done.stderr
    assert "\nthe time was over before 2 rules were checked completely; raise" in done.stderr
    tests = ("-q", "-p", "no:cacheprovider", "test_rules.py")
    done = run(project, "-m", "fcjax", "audit", *few, "--", "pytest", *tests)
    assert done.returncode == 2, done.stdout + done.stderr
    assert "3 passed" in done.stdout
    # status 2 of pytest by itself means that it was interrupted
    limit = ("-p", "fcjax.audit", "--audit-time-limit=0.001")
    done = run(project, "-m", "pytest", *limit, *tests)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "the time was over before 3 rules" in done.stdout


def test_a_rule_that_is_inconclusive_for_another_reason_keeps_the_status():
    cut = Rule("f", "a.py:1", "a", False, "inconclusive", 1, is_cut=True)
    other = Rule("g", "a.py:2", "a", False, "inconclusive", 1)
    wrong = Rule("h", "a.py:3", "a", False, "wrong", 1)
    assert [Audit(rules).status for rules in [(other,), (cut, other), (cut, wrong)]] == [0, 2, 1]


A = Rule("clip", "/x/pkg/a.py:5", "pkg.a", False, "wrong", 1)
B = Rule("clip", "/x/pkg/b.py:5", "pkg.b", False, "wrong", 1)
C = Rule("clip", "/x/other/b.py:7", "other.b", False, "wrong", 1)


@pytest.mark.parametrize(
    "name", ["a.py:clip", "a.py:5", "pkg/a.py:5", "/x/pkg/a.py:5", "pkg.a:clip"]
)
def test_a_qualified_name_excuses_one_rule(name):
    audit = Audit.of([A, B, C], [name])
    purpose = {rule.source for rule in audit.rules if rule.verdict == "wrong on purpose"}
    assert purpose == {A.source}
    assert audit.unmet == []


def test_a_name_that_fits_several_wrong_rules_excuses_none():
    audit = Audit.of([A, B, C], ["clip"])
    assert [rule.verdict for rule in audit.rules] == ["wrong"] * 3
    assert str(audit).splitlines()[-1] == (
        "expected: clip fits 3 wrong rules and excuses none; name b.py:7, a.py:5, b.py:5"
    )
    right = dataclasses.replace(B, verdict="right")
    assert Audit.of([A, right], ["clip"]).ok
    assert Audit.of([A, B], ["y.py:clip", "py:5"]).unmet == ["y.py:clip", "py:5"]
    same = dataclasses.replace(C, source="/x/other/b.py:5")
    assert "name other/b.py:5, pkg/b.py:5" in str(Audit.of([B, same], ["clip"]))


def test_names_are_applied_to_the_rules_of_all_workers(project):
    (project / "other.py").write_text(RULES)
    for name in ("rules", "other"):
        (project / f"test_{name}.py").write_text(
            f"import {name}, jax, jax.numpy as jnp\n"
            f"def test_cube():\n    jax.grad({name}.cube)(1.0)\n"
        )
    command = ("-m", "pytest", "-q", "-n", "2", "--dist=loadfile", "-p", "fcjax.audit")
    done = run(project, *command, "--audit-expected=cube", "test_rules.py", "test_other.py")
    assert done.returncode == 1, done.stdout
    assert "expected: cube fits 2 wrong rules and excuses none; name " in done.stdout


def test_what_is_printed_of_many_failures():
    findings = [Finding("wrong", "float32[]", f"✗ check {i}", f"call({i})") for i in range(8)]
    findings.append(Finding("note", "float32[]", "a note", "other()"))
    rule = dataclasses.replace(A, findings=tuple(findings))
    assert str(Audit((rule,))).splitlines()[1:-1] == [
        "    wrong, float32[]:",
        "      ✗ check 0",
        "    wrong, float32[]:",
        "      ✗ check 1",
        "    and 6 more failures",
        "    and 1 more finding",
        "      call(0)",
    ]
    assert len(str(Audit.of((rule,), ["clip"])).splitlines()) == 2
    assert "traced once" in str(Audit((A,)))


def test_child_processes_are_said_not_to_be_heard():
    unused = Rule("f", "a.py:1", "a", False, "never called")
    said = "called in this process; the audit does not hear child processes"
    assert str(Audit((unused,))).endswith(f"0 rules were {said}")
    assert (
        str(Audit(())) == f"no hand-written rule was {said.replace('called', 'called or defined')}"
    )


EXPORT = """
import jax, rules
def test_export():
    jax.export.export(jax.jit(rules.square))(1.0).serialize()
if __name__ == "__main__":
    test_export()
"""


@long
def test_an_error_about_callbacks_comes_with_a_hint(project):
    (project / "test_export.py").write_text(EXPORT)
    hint = "which the audit adds: try --no-callbacks"
    done = run(project, "-m", "fcjax", "audit", "test_export.py")
    assert (done.returncode, hint in done.stderr) == (1, True), done.stderr
    done = run(project, "-m", "fcjax", "audit", "--no-callbacks", "test_export.py")
    assert (done.returncode, hint in done.stderr) == (0, False), done.stderr
    done = run(project, "-m", "pytest", "-q", "-p", "fcjax.audit", "test_export.py")
    assert (done.returncode, hint in done.stdout) == (1, True), done.stdout
