"""What a compiled program does in one step, read from its text: products, traffic, collectives.

XLA's cost analysis counts the body of a loop once. Here each body counts as often as it runs.
"""

import math
import re
from collections import defaultdict
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

# What a chip sends in a collective of n chips, and receives too, over the bytes of its operand, if
# no chip sends anything twice.
SENT = {
    "all-gather": lambda n: n - 1,
    "reduce-scatter": lambda n: (n - 1) / n,
    "all-reduce": lambda n: 2 * (n - 1) / n,
    "all-to-all": lambda n: (n - 1) / n,
    "collective-permute": lambda n: 1,
}


class Shape(NamedTuple):
    """The type of an array; `in_hbm` is false for one that lies in the memory of the core."""

    dtype: str
    sizes: tuple[int, ...]
    in_hbm: bool

    @property
    def bytes(self) -> int:
        """Bytes without padding."""
        bits = re.search(r"\d+", self.dtype)
        return math.prod(self.sizes) * (int(bits[0]) // 8 if bits else 1)


class Instruction(NamedTuple):
    """One line of a computation; `inputs` is the text between its parentheses."""

    name: str
    shapes: tuple[Shape, ...]
    opcode: str
    inputs: str
    attributes: str
    is_root: bool

    @property
    def operands(self) -> list[str]:
        """The names of the instructions whose results it takes."""
        return re.findall(r"%([\w.-]+)", self.inputs)

    def called(self, attribute: str) -> str:
        """Return the name of the computation in an attribute."""
        return re.search(rf"{attribute}=%([\w.-]+)", self.attributes)[1]

    @property
    def bytes_in_hbm(self) -> int:
        """Bytes of the results that lie in HBM."""
        return sum(shape.bytes for shape in self.shapes if shape.in_hbm)


Computation = dict[str, Instruction]


class Collective(NamedTuple):
    """A collective of each step: its kind, the chips of each group, and what a chip sends."""

    kind: str
    groups: np.ndarray
    count: int
    bytes: float


class Program(NamedTuple):
    """The computations of a compiled program, and how often each runs in a step."""

    computations: dict[str, Computation]
    runs: dict[str, int]
    # Computations that are part of one instruction, a fusion.
    fused: set[str]

    def instructions(self) -> Iterator[tuple[int, str, Instruction]]:
        """Yield how often each instruction runs, its computation, and the instruction."""
        for name, times in self.runs.items():
            yield from ((times, name, one) for one in self.computations[name].values())


# --- reading --------------------------------------------------------------------------------------

_HEAD = re.compile(r"^(ENTRY )?%([\w.-]+) \(.*\{$")
_LINE = re.compile(r"^\s+(ROOT )?%([\w.-]+) = (.+?) ([a-z][a-z0-9-]*)\(([^)]*)\)(.*)$")
_SHAPE = re.compile(r"\b([a-z]+\d*\w*)\[([\d,]*)\](?:\{([^}]*)\})?")


def read(text: str) -> Program:
    """Read the text of a compiled program."""
    computations: dict[str, Computation] = {}
    entry, current = "", {}
    for line in text.splitlines():
        if head := _HEAD.match(line):
            current = computations[head[2]] = {}
            entry = head[2] if head[1] else entry
        elif found := _LINE.match(line):
            root, name, types, opcode, inputs, attributes = found.groups()
            current[name] = Instruction(
                name, _shapes(types), opcode, inputs, attributes, root is not None
            )
    runs, fused = defaultdict(int), set()
    _run(computations, entry, 1, runs, fused)
    return Program(computations, dict(runs), fused)


def _shapes(types: str) -> tuple[Shape, ...]:
    """Return the arrays of a type; the layout names the memory, S(0) or nothing for HBM."""
    return tuple(
        Shape(dtype, tuple(map(int, filter(None, sizes.split(",")))), "S(" not in layout)
        for dtype, sizes, layout in _SHAPE.findall(types)
    )


def _run(
    computations: dict[str, Computation],
    name: str,
    times: int,
    runs: dict[str, int],
    fused: set[str],
) -> None:
    """Count the runs of a computation and of all that it calls."""
    runs[name] += times
    for one in computations[name].values():
        if one.opcode == "while":
            rounds = times * _rounds(computations, one)
            _run(computations, one.called("body"), rounds, runs, fused)
        elif one.opcode == "conditional":
            raise ValueError(f"{one.name} has branches, and the text does not say which is taken")
        elif one.opcode in ("call", "fusion") or one.opcode.startswith("async-start"):
            callee = one.called("to_apply" if one.opcode == "call" else "calls")
            if one.opcode == "fusion" or name in fused:
                fused.add(callee)
            _run(computations, callee, times, runs, fused)


def _rounds(computations: dict[str, Computation], loop: Instruction) -> int:
    """Return how often a loop runs: its counter starts at 0 and grows by a step up to a limit.

    The step of `lax.scan` is 1, that of a loop in which the compiler has unrolled two rounds is 2.
    """
    if known := re.search(r'known_trip_count":\{"n":"(\d+)"', loop.attributes):
        return int(known[1])
    condition, body = (computations[loop.called(part)] for part in ("condition", "body"))
    (compare,) = [one for one in condition.values() if one.opcode == "compare"]
    if "direction=LT" not in compare.attributes:
        raise ValueError(f"{loop.name} must stop at an upper limit, got {compare.attributes}")
    counter, limit = (condition[name] for name in compare.operands)
    place = int(re.search(r"index=(\d+)", counter.attributes)[1])
    root = next(one for one in body.values() if one.is_root)
    terms = [body[name] for name in body[root.operands[place]].operands]
    (step,) = [int(one.inputs) for one in terms if one.opcode == "constant"]
    return -(-int(limit.inputs) // step)


# --- products -------------------------------------------------------------------------------------


def product_flops(program: Program) -> int:
    """Return the multiplications and additions of the matrix products of a step."""
    flops = {"dot": _dot_flops, "convolution": _convolution_flops}
    return sum(
        times * flops[one.opcode](program.computations[where], one)
        for times, where, one in program.instructions()
        if one.opcode in flops
    )


def _dot_flops(computation: Computation, dot: Instruction) -> int:
    left = computation[dot.operands[0]].shapes[0].sizes
    contracted = re.search(r"lhs_contracting_dims=\{([\d,]*)\}", dot.attributes)[1]
    return (
        2 * math.prod(dot.shapes[0].sizes) * math.prod(left[int(d)] for d in contracted.split(","))
    )


def _convolution_flops(computation: Computation, product: Instruction) -> int:
    """Count a product as XLA writes it on a TPU: a convolution, often without a window."""
    labels = re.search(r"dim_labels=(\w+)_(\w+)->(\w+)", product.attributes).groups()
    operands = [computation[name].shapes[0].sizes for name in product.operands]
    left, right, out = (
        dict(zip(label, sizes, strict=True))
        for label, sizes in zip(labels, [*operands, product.shapes[0].sizes], strict=True)
    )
    pairs = math.prod(
        _pairs(left[d], right[d], out[d], low)
        for d, low in zip(sorted(set(left) - {"b", "f"}), _low_padding(product), strict=False)
    )
    return 2 * left["b"] * left["f"] * right["o"] * pairs


def _low_padding(product: Instruction) -> list[int]:
    """Return the padding before each dimension of the window."""
    found = re.search(r"window=\{([^}]*)\}", product.attributes)
    size = re.search(r"size=(\S+)", found[1])[1].split("x") if found else []
    pad = re.search(r"pad=(\S+)", found[1]) if found else None
    return [int(p.split("_")[0]) for p in pad[1].split("x")] if pad else [0] * len(size)


def _pairs(size: int, window: int, out: int, low: int) -> int:
    """Count the places of a window, and the entries at each, that are not padding."""
    return sum(0 <= place - low + k < size for place in range(out) for k in range(window))


# --- traffic with HBM -----------------------------------------------------------------------------

_FREE = {
    "parameter", "constant", "tuple", "get-tuple-element", "bitcast", "while", "call", "after-all",
    "partition-id", "replica-id", "custom-call", "opt-barrier",
}  # fmt: skip


def hbm_bytes(program: Program) -> int:
    """Return the bytes that a step reads from HBM and writes to it, by the arrays it touches.

    An instruction reads its operands and writes its results, a slice of an array only that slice.
    What lies in the memory of the core is free.
    """
    return sum(
        times * _traffic(program, program.computations[where], one)
        for times, where, one in program.instructions()
        if where not in program.fused
    )


def _traffic(program: Program, computation: Computation, one: Instruction) -> int:
    if one.opcode in _FREE or one.opcode.endswith("-done"):
        return 0
    operands = [computation[name] for name in one.operands]
    if one.opcode == "fusion":
        return _fusion_traffic(program, operands, one)
    if one.opcode == "dynamic-update-slice":
        return operands[1].bytes_in_hbm + operands[1].shapes[0].bytes * one.shapes[0].in_hbm
    if one.opcode in ("copy-start", "slice-start"):
        # the result is a tuple of the copy, the source and a flag, in either order
        moved = one.shapes[one.opcode == "slice-start"]
        return moved.bytes * (moved.in_hbm + operands[0].shapes[0].in_hbm)
    if one.opcode in ("slice", "dynamic-slice"):
        return one.bytes_in_hbm + one.shapes[0].bytes * operands[0].shapes[0].in_hbm
    # a collective that is started has a tuple of its operand, its result and flags
    results = one.shapes[1:2] if one.opcode.endswith("-start") else one.shapes
    written = sum(shape.bytes for shape in results if shape.in_hbm)
    return written + sum(operand.bytes_in_hbm for operand in operands)


def _fusion_traffic(program: Program, operands: list[Instruction], one: Instruction) -> int:
    body = one.called("calls")
    passed = re.findall(r"\{(\d*)\}: \((\d+), \{\}", one.attributes)
    outputs = {int(output or 0) for output, _ in passed}
    inputs = {int(operand) for _, operand in passed}
    read = sum(
        _read(program, body, i)
        for i, operand in enumerate(operands)
        if operand.shapes[0].in_hbm and i not in inputs
    )
    written = sum(
        count
        for i, (shape, count) in enumerate(zip(one.shapes, _written(program, body), strict=True))
        if shape.in_hbm and i not in outputs
    )
    return read + written


def _read(program: Program, body: str, number: int) -> int:
    """Return the bytes of a parameter that a fusion reads."""
    computation = program.computations[body]
    parameter = next(
        one
        for one in computation.values()
        if one.opcode == "parameter" and one.inputs == str(number)
    )
    return min(parameter.shapes[0].bytes, _used(program, computation, parameter))


def _used(program: Program, computation: Computation, value: Instruction) -> int:
    """Return the bytes of a value that its users read."""
    total = 0
    for user in computation.values():
        if value.name not in user.operands:
            continue
        at = user.operands.index(value.name)
        if user.opcode in ("slice", "dynamic-slice"):
            total += user.shapes[0].bytes
        elif user.opcode == "bitcast":
            total += _used(program, computation, user)
        elif user.opcode == "fusion":
            total += _read(program, user.called("calls"), at)
        elif user.opcode != "dynamic-update-slice" or at > 0:
            return value.shapes[0].bytes
    return total


def _written(program: Program, body: str) -> list[int]:
    """Return the bytes that a fusion writes of each of its results."""
    computation = program.computations[body]
    root = next(one for one in computation.values() if one.is_root)
    if root.opcode == "tuple":
        parts = [computation[name] for name in root.operands]
        return [_written_by(program, computation, part) for part in parts]
    if len(root.shapes) > 1:
        return [shape.bytes for shape in root.shapes]
    return [_written_by(program, computation, root)]


def _written_by(program: Program, computation: Computation, value: Instruction) -> int:
    """Return the bytes that change in a result: where a slice is updated in place, that slice."""
    while value.opcode == "bitcast":
        value = computation[value.operands[0]]
    if value.opcode == "dynamic-update-slice":
        return computation[value.operands[1]].shapes[0].bytes
    if value.opcode == "fusion" and len(value.shapes) == 1:
        return _written(program, value.called("calls"))[0]
    return value.shapes[0].bytes


# --- collectives ----------------------------------------------------------------------------------


def collectives(program: Program) -> list[Collective]:
    """Return every collective that sends something, with its runs and bytes in a step.

    A TPU's compiler splits a collective over the fusions that start it, run beside it and wait for
    it. These parts share a channel, and count once.
    """
    found: dict[tuple[str, str], Collective] = {}
    for times, where, one in program.instructions():
        kind = one.opcode.removesuffix("-start")
        if kind in SENT:
            # a TPU's reduce-scatter is a fusion of an all-reduce and of the slice that remains
            scattered = kind == "all-reduce" and where.startswith("all-reduce-scatter")
            kind = "reduce-scatter" if scattered else kind
            groups = groups_of(one.attributes)
            operands = [program.computations[where][name].shapes[0] for name in one.operands]
            size = sum(shape.bytes for shape in operands) * SENT[kind](groups.shape[-1])
            if size:
                channel = re.search(r"channel_id=\d+", one.attributes)
                key = ("", channel[0]) if where in program.fused else (where, one.name)
                found[key] = Collective(kind, groups, times, times * size)
    return list(found.values())


def groups_of(attributes: str) -> np.ndarray:
    """Return the devices of each group, or the pairs of a permutation without those of one device.

    A list of groups; `[4,2]<=[2,4]T(1,0)`, the numbers in the shape on the right, transposed and
    in the shape on the left; or a mesh and the axes that a group spans.
    """
    if pairs := re.search(r"source_target_pairs=(\{\{.*?\}\})", attributes):
        return np.array([pair for pair in _lists(pairs[1]) if pair[0] != pair[1]]).reshape(-1, 2)
    if groups := re.search(r"replica_groups=(\{\{.*?\}\})", attributes):
        return np.array(_lists(groups[1]))
    if iota := re.search(
        r"replica_groups=\[([\d,]+)\]<=\[([\d,]+)\](?:T\(([\d,]+)\))?", attributes
    ):
        shape, source, order = (_numbers(part or "") for part in iota.groups())
        numbers = np.arange(math.prod(source)).reshape(source)
        return (numbers.transpose(order) if order else numbers).reshape(shape)
    if mesh := re.search(r"replica_groups=mesh\[([^\]]*)\] \{([^}]*)\}", attributes):
        axes = {name: int(size) for name, size in re.findall(r"'(\w+)'=(\d+)", mesh[1])}
        spanned = re.findall(r"'(\w+)'", mesh[2])
        numbers = np.arange(math.prod(axes.values())).reshape(*axes.values())
        last = [list(axes).index(name) for name in spanned]
        others = [d for d in range(len(axes)) if d not in last]
        return numbers.transpose(*others, *last).reshape(-1, math.prod(axes[n] for n in spanned))
    raise ValueError(f"no groups of devices in {attributes[:200]}")


def _numbers(text: str) -> list[int]:
    return [int(number) for number in re.findall(r"\d+", text)]


def _lists(text: str) -> list[list[int]]:
    return [_numbers(part) for part in re.findall(r"\{([\d,]*)\}", text)]
