"""The plan of training at scale: what is read off a compiled program, and what follows from it."""

import importlib.util
import json
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import fcjax
from benchmarks import chip, hlo, scale_page
from benchmarks.report import with_report
from benchmarks.results import ROOT, load
from benchmarks.wide import LAYOUTS, NETWORKS, SLICES, Wide, mesh_shape, needed_bytes
from fcjax import distributed

# A loop of three rounds, as a TPU's compiler writes it: a product, a gather that is split over
# three fusions, and a reduce-scatter as a fusion. S(1) is the memory of the core.
PROGRAM = """HloModule step, is_scheduled=true

%add (x: f32[], y: f32[]) -> f32[] {
  %x = f32[]{:T(128)} parameter(0)
  %y = f32[]{:T(128)} parameter(1)
  ROOT %sum = f32[]{:T(128)} add(%x, %y)
}

%start (p: bf16[8,16]) -> (bf16[8,16], bf16[16,16], u32[]) {
  %p.1 = bf16[8,16]{1,0:T(8,128)(2,1)} parameter(0)
  %gather.1 = bf16[16,16]{1,0:T(8,128)(2,1)} all-gather(%p.1), channel_id=7, replica_groups=[2,2]<=[2,2]T(1,0), dimensions={0}
  ROOT %begun = (bf16[8,16]{1,0}, bf16[16,16]{1,0}, u32[]{:S(2)}) custom-call(%gather.1), custom_call_target="AsyncCollectiveStart"
}

%done (p: bf16[8,16], q: bf16[16,16], r: u32[]) -> bf16[16,16] {
  %p.2 = bf16[8,16]{1,0:T(8,128)(2,1)} parameter(0)
  %q.2 = bf16[16,16]{1,0:T(8,128)(2,1)} parameter(1)
  %r.2 = u32[]{:S(2)} parameter(2)
  %gather.2 = bf16[16,16]{1,0:T(8,128)(2,1)} all-gather(%p.2), channel_id=7, replica_groups=[2,2]<=[2,2]T(1,0), dimensions={0}
  ROOT %ended = bf16[16,16]{1,0} custom-call(%p.2, %q.2, %gather.2, %r.2), custom_call_target="AsyncCollectiveDone"
}

%all-reduce-scatter.3 (input: f32[32,16]) -> f32[16,16] {
  %input = f32[32,16]{1,0:T(8,128)} parameter(0)
  %reduced = f32[32,16]{1,0:T(8,128)} all-reduce(%input), channel_id=9, replica_groups={{0,1},{2,3}}, to_apply=%add
  %zero = u32[] constant(0)
  ROOT %kept = f32[16,16]{1,0:T(8,128)S(1)} dynamic-slice(%reduced, %zero, %zero), dynamic_slice_sizes={16,16}
}

%update (stack: f32[3,16,16], layer: f32[16,16], i: s32[]) -> f32[3,16,16] {
  %stack = f32[3,16,16]{2,1,0:T(8,128)} parameter(0)
  %layer = f32[16,16]{1,0:T(8,128)S(1)} parameter(1)
  %i = s32[]{:T(128)S(6)} parameter(2)
  %flat = f32[1,16,16]{2,1,0:T(8,128)} bitcast(%layer)
  ROOT %new = f32[3,16,16]{2,1,0:T(8,128)} dynamic-update-slice(%stack, %flat, %i, %i, %i)
}

%body (state: (s32[], bf16[8,16], f32[3,16,16], f32[32,16])) -> (s32[], bf16[8,16], f32[3,16,16], f32[32,16]) {
  %state = (s32[]{:T(128)}, bf16[8,16]{1,0:T(8,128)(2,1)}, f32[3,16,16]{2,1,0}, /*index=3*/f32[32,16]{1,0}) parameter(0)
  %n = s32[]{:T(128)S(6)} get-tuple-element(%state), index=0
  %w = bf16[8,16]{1,0:T(8,128)(2,1)} get-tuple-element(%state), index=1
  %all = f32[3,16,16]{2,1,0:T(8,128)} get-tuple-element(%state), index=2
  %d = f32[32,16]{1,0:T(8,128)} get-tuple-element(%state), index=3
  %async-collective-start = (bf16[8,16]{1,0}, bf16[16,16]{1,0}, u32[]{:S(2)}) fusion(%w), kind=kCustom, output_to_operand_aliasing={{0}: (0, {})}, calls=%start
  %a = bf16[8,16]{1,0} get-tuple-element(%async-collective-start), index=0
  %g = bf16[16,16]{1,0} get-tuple-element(%async-collective-start), index=1
  %f = u32[]{:S(2)} get-tuple-element(%async-collective-start), index=2
  %whole = bf16[16,16]{1,0} fusion(%a, %g, %f), kind=kCustom, output_to_operand_aliasing={{}: (1, {})}, calls=%done
  %dw = f32[16,16]{1,0:T(8,128)S(1)} fusion(%d), kind=kCustom, calls=%all-reduce-scatter.3
  %product = f32[16,16]{1,0:T(8,128)S(1)} convolution(%whole, %dw), dim_labels=fb_io->bf
  %stacked = f32[3,16,16]{2,1,0:T(8,128)} fusion(%all, %product, %n), kind=kLoop, calls=%update
  %one = s32[]{:T(128)} constant(1)
  %n.2 = s32[]{:T(128)S(6)} add(%n, %one)
  ROOT %next = (s32[], bf16[8,16]{1,0}, f32[3,16,16]{2,1,0}, f32[32,16]{1,0}) tuple(%n.2, %w, %stacked, %d)
}

%condition (state: (s32[], bf16[8,16], f32[3,16,16], f32[32,16])) -> pred[] {
  %state.1 = (s32[]{:T(128)}, bf16[8,16]{1,0}, f32[3,16,16]{2,1,0}, f32[32,16]{1,0}) parameter(0)
  %n.1 = s32[]{:T(128)} get-tuple-element(%state.1), index=0
  %limit = s32[]{:T(128)} constant(3)
  ROOT %less = pred[]{:T(512)} compare(%n.1, %limit), direction=LT
}

ENTRY %main (w: bf16[8,16], d: f32[32,16]) -> f32[3,16,16] {
  %w.1 = bf16[8,16]{1,0:T(8,128)(2,1)} parameter(0)
  %d.1 = f32[32,16]{1,0:T(8,128)} parameter(1)
  %first = s32[]{:T(128)} constant(0)
  %nothing = f32[]{:T(128)} constant(0)
  %zeros = f32[3,16,16]{2,1,0:T(8,128)} broadcast(%nothing), dimensions={}
  %begin = (s32[], bf16[8,16]{1,0}, f32[3,16,16]{2,1,0}, f32[32,16]{1,0}) tuple(%first, %w.1, %zeros, %d.1)
  %loop = (s32[], bf16[8,16]{1,0}, f32[3,16,16]{2,1,0}, f32[32,16]{1,0}) while(%begin), condition=%condition, body=%body
  ROOT %result = f32[3,16,16]{2,1,0:T(8,128)} get-tuple-element(%loop), index=2
}
"""  # noqa: E501


def test_a_loop_counts_as_often_as_it_runs():
    program = hlo.read(PROGRAM)
    assert {name: program.runs[name] for name in ("main", "body", "start", "done")} == {
        "main": 1,
        "body": 3,
        "start": 3,
        "done": 3,
    }
    assert hlo.product_flops(program) == 3 * 2 * 16**3
    by_two = hlo.read(PROGRAM.replace("constant(1)", "constant(2)"))
    assert by_two.runs["body"] == 2


def test_a_message_counts_once_however_many_fusions_share_it():
    gather, scatter = sorted(hlo.collectives(hlo.read(PROGRAM)), key=lambda one: one.kind)
    assert (gather.kind, gather.count, gather.bytes) == ("all-gather", 3, 3 * 2 * 8 * 16)
    assert gather.groups.tolist() == [[0, 2], [1, 3]]
    assert (scatter.kind, scatter.count, scatter.bytes) == ("reduce-scatter", 3, 3 * 4 * 16 * 16)
    assert scatter.groups.tolist() == [[0, 1], [2, 3]]


def test_traffic_is_what_is_read_and_written_in_hbm():
    zeros, shard, whole, layer = 4 * 3 * 16 * 16, 2 * 8 * 16, 2 * 16 * 16, 4 * 16 * 16
    # each round reads a shard, writes the whole and reads it for the product, reads what is
    # reduced, and writes one layer of the stack; it adds one to the counter, and the rest lies in
    # the memory of the core
    rounds = shard + 2 * whole + 4 * 32 * 16 + layer + 4
    assert hlo.hbm_bytes(hlo.read(PROGRAM)) == 4 + zeros + 3 * rounds


@pytest.mark.parametrize(
    ("text", "groups"),
    [
        ("replica_groups={{0,2},{1,3}}, use_global_device_ids=true", [[0, 2], [1, 3]]),
        ("replica_groups=[2,3]<=[6], x", [[0, 1, 2], [3, 4, 5]]),
        ("replica_groups=[3,2]<=[2,3]T(1,0), x", [[0, 3], [1, 4], [2, 5]]),
        ("replica_groups=mesh['a'=2,'b'=3] {'a'}, x", [[0, 3], [1, 4], [2, 5]]),
        ("replica_groups=mesh['a'=2,'b'=3] {'b'}, x", [[0, 1, 2], [3, 4, 5]]),
        ("replica_groups=mesh['a'=2,'b'=1] {'a','b'}, x", [[0, 1]]),
        ("source_target_pairs={{0,1},{1,0},{2,2}}, x", [[0, 1], [1, 0]]),
    ],
)
def test_every_way_to_write_groups(text, groups):
    assert hlo.groups_of(text).tolist() == groups


def test_what_is_not_understood_is_refused():
    with pytest.raises(ValueError, match="no groups of devices"):
        hlo.groups_of("replica_groups={}")
    with pytest.raises(ValueError, match="must stop at an upper limit"):
        hlo.read(PROGRAM.replace("direction=LT", "direction=GT"))
    with pytest.raises(ValueError, match="loop has branches"):
        hlo.read(PROGRAM.replace(" while(", " conditional("))


def test_a_window_over_padding_multiplies_nothing():
    """A product with two halves of a gathered operand, as a convolution with a padded window."""
    line = (
        "  %{} = f32[2048,2,2048]{{2,0,1}} convolution(%a, %b), window={{size=2 pad=1_1 "
        "rhs_reversal=1}}, dim_labels=fb0_i0o->b0f"
    )
    computation = {
        name: hlo.Instruction(name, (hlo.Shape("bf16", sizes, True),), "x", "", "", False)
        for name, sizes in {"a": (64, 2048, 1), "b": (64, 2, 2048)}.items()
    }
    (product,) = (
        hlo.read("ENTRY %main () -> f32[] {\n" + line.format("p")).computations["main"].values()
    )
    assert hlo._convolution_flops(computation, product) == 2 * 2048 * 64 * 2048 * 2


# --- on eight devices -----------------------------------------------------------------------------

WIDTH, LAYERS, EXAMPLES = 32, 5, 64
MESHES = {
    "replicated": {"data": 8},
    "tensor": {"data": 2, "model": 4},
    "fsdp": {"data": 8},
    "fsdp+tensor": {"data": 2, "model": 4},
}
on_eight = pytest.mark.skipif(jax.device_count() < 8, reason="the meshes have eight devices")


def compiled_step(layout, remat_every=None):
    mesh = distributed.mesh(MESHES[layout])
    params = fcjax.stack(fcjax.init(jax.random.key(0), (WIDTH,) * (LAYERS + 1)))
    params = distributed.place(params, mesh, layout)
    batch = jnp.ones((EXAMPLES, WIDTH)), jnp.zeros(EXAMPLES, jnp.int32)
    optimizer = optax.adam(1e-3)

    def loss(params, batch):
        logits = fcjax.mlp(params, batch[0], remat_every=remat_every)
        return fcjax.softmax_cross_entropy(logits, batch[1])

    step = fcjax.make_train_step(loss, optimizer)
    with jax.set_mesh(mesh):
        state = fcjax.init_state(params, optimizer)
        program = step.lower(state, distributed.place_batch(batch, mesh)).compile()
    return hlo.read(program.as_text())


@on_eight
@pytest.mark.parametrize("layout", LAYOUTS)
def test_each_device_computes_an_eighth_of_the_products(layout):
    products = 2 * LAYERS * WIDTH**2 * EXAMPLES / 8
    assert hlo.product_flops(compiled_step(layout)) == 3 * products
    # four layers are stacked, and blocks of two compute the first two again
    again = hlo.product_flops(compiled_step(layout, remat_every=2))
    assert again == products * (3 + 2 / LAYERS)


@on_eight
def test_data_parallel_sends_the_gradients():
    sent = hlo.collectives(compiled_step("replicated"))
    assert {one.kind for one in sent} == {"all-reduce"}
    numbers = LAYERS * (WIDTH**2 + WIDTH) + 1  # and the loss
    assert sum(one.bytes for one in sent) == 2 * 7 / 8 * 4 * numbers


@on_eight
def test_fully_sharded_gathers_in_both_passes_and_scatters_once():
    sent = {"all-gather": 0, "reduce-scatter": 0, "all-reduce": 0}
    for one in hlo.collectives(compiled_step("fsdp")):
        sent[one.kind] += one.bytes
    stacked, last = (LAYERS - 1) * WIDTH**2, WIDTH**2
    biases = LAYERS * WIDTH
    # the weights of the last layer serve both passes, and biases the forward pass alone
    assert sent["all-gather"] == 7 / 8 * 4 * (2 * stacked + last + biases)
    assert sent["reduce-scatter"] == 7 / 8 * 4 * (stacked + last + biases)
    assert sent["all-reduce"] == 2 * 7 / 8 * 4  # the loss


# --- what follows ---------------------------------------------------------------------------------


def grid(xs, ys):
    return np.array([(x, y) for x in xs for y in ys])


@pytest.mark.parametrize(
    ("places", "extents", "links"),
    [
        (grid(range(4), range(4)), (4, 4), 2),  # a corner
        (grid(range(16), range(16)), (16, 16), 4),  # two rings
        (grid(range(8), range(16)), (8, 16), 3),
        (grid(range(4), [0]), (16, 16), 1),  # the end of a line in a ring
        (grid([3], range(16)), (16, 16), 2),
        (grid([0, 4, 8, 12], [0]), (16, 16), 0.5),  # a ring shared by four groups
        (grid([0, 2, 4, 6], [0]), (8, 8), 0.5),
    ],
)
def test_links_of_a_group(places, extents, links):
    assert chip.links(places, extents) == links


def test_a_group_that_is_no_grid_is_refused():
    with pytest.raises(ValueError, match="must be a grid of chips"):
        chip.links(np.array([(0, 0), (1, 1)]), (4, 4))


def test_hops_go_the_shorter_way_around():
    assert chip.hops(np.array([0, 0]), np.array([15, 3]), (16, 4)) == 1 + 3
    assert chip.hops(np.array([0, 0]), np.array([7, 3]), (8, 4)) == 7 + 3


def test_bounds_and_efficiency():
    found = {
        "needed_flops": 3 * chip.FLOPS,
        "flops": 4 * chip.FLOPS,
        "hbm_bytes": 1 * chip.HBM_SPEED,
        "collectives": [
            {"links": 2, "bytes": 2 * chip.LINK_SPEED},
            {"links": 0.5, "bytes": 2 * chip.LINK_SPEED},
        ],
    }
    assert chip.bounds(found) == {"compute": 4, "HBM": 1, "interconnect": 5}
    assert chip.efficiency(found) == (3 / 10, 3 / 5)


def test_what_a_layout_needs():
    network = Wide("", width=10, layers=3, tensor=4, examples=7)
    fsdp = needed_bytes(network, "fsdp", {"data": 4})
    assert fsdp == {"weights": 4 * 225, "gradients": 4 * 225, "activations": 0}
    assert needed_bytes(network, "replicated", {"data": 4})["gradients"] == 8 * 225
    tensor = needed_bytes(network, "tensor", {"data": 2, "model": 4})
    split = {"weights": 0, "gradients": 8 * 37.5, "activations": 4 * 3 * 10 * 28 * 0.75}
    assert tensor == split


def test_networks_have_their_sizes_and_meshes_their_chips():
    for network, size in zip(NETWORKS, (1e9, 1e10, 1e11), strict=True):
        assert network.parameters == pytest.approx(size, rel=0.01)
        for chips in SLICES.values():
            for layout in LAYOUTS:
                assert np.prod(list(mesh_shape(network, layout, chips).values())) == chips
    for topology, chips in SLICES.items():
        assert np.prod([int(n) for n in topology.split("x")]) == chips


# --- the committed plan ---------------------------------------------------------------------------


@pytest.fixture(scope="module")
def result():
    return load(scale_page.RESULT)


def test_every_case_is_there(result):
    assert list(result["networks"]) == [str(network) for network in NETWORKS]
    for network in NETWORKS:
        for _, _, case in scale_page.cases(result, network):
            assert (
                case["refused"] if "flops" not in case else case["memory"]["peak"] < 15.75 * 2**30
            )
    fitting = [
        case for n in NETWORKS for _, _, case in scale_page.cases(result, n) if "flops" in case
    ]
    assert len(fitting) > 10


def test_what_the_compiler_asks_for():
    asked = "memory required for HLO temporaries ({}) exceeds available HBM (15.75G)."
    assert scale_page.asked_bytes(asked.format("17.50G")) == 17.5 * 2**30
    assert scale_page.asked_bytes(asked.format("1.5T")) == 1.5 * 2**40


def test_the_compiled_products_are_those_of_the_algorithm(result):
    for network in NETWORKS:
        for _, _, case in scale_page.cases(result, network):
            if "flops" in case:
                blocks = case["remat_every"]
                # all stacked layers but those of the last block are computed again
                again = (network.layers - 2) // blocks * blocks if blocks else 0
                assert case["needed_flops"] == network.flops
                assert case["flops"] == network.flops * (3 + again / network.layers) / 3


def test_an_efficiency_is_a_part(result):
    for layouts in scale_page.efficiencies(result).values():
        for points in layouts.values():
            assert all(0 < low < high <= 1 for low, high in points.values())


def test_the_page_shows_the_committed_plan(result):
    page = scale_page.PAGE.read_text()
    assert with_report(page, scale_page.plan(result)) == page
    assert scale_page.PICTURE.exists()


COMPILE = """
import json
from benchmarks import scale
from benchmarks.wide import Wide

network = Wide("small", width=1024, layers=6, tensor=4, examples=256)
print(json.dumps({layout: scale._case(network, "4x4", layout) for layout in scale.LAYOUTS}))
"""


@pytest.mark.skipif(importlib.util.find_spec("libtpu") is None, reason="needs libtpu")
def test_a_small_network_compiles_in_every_layout():
    command = [sys.executable, "-c", COMPILE]
    said = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    found = json.loads(said.stdout.splitlines()[-1])
    assert list(found) == list(LAYOUTS)
    for layout, case in found.items():
        assert case["flops"] == case["needed_flops"] == 6 * 6 * 1024**2 * 256
        assert {one["kind"] for one in case["collectives"]} >= {"all-reduce"}, layout
