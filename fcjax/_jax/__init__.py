"""All code that depends on the internals of JAX and XLA.

JAX promises compatibility for its public API only. Names of primitives, parameters of equations,
error messages, layouts and compiler options are not part of it, and change between releases. Only
this folder depends on them, and `tests/test_jax_internals.py` tests each dependency.
"""

from .compiling import (
    compiled as compiled,
    direct_options as direct_options,
    quick_options as quick_options,
)
from .constants import (
    constants_in as constants_in,
    constants_into_rules as constants_into_rules,
    constants_of_rules as constants_of_rules,
    original as original,
    rule_constants as rule_constants,
)
from .costs import bytes_kept as bytes_kept, compiled_cost as compiled_cost
from .inlining import inline_calls as inline_calls, lost_derivatives as lost_derivatives
from .leaves import has_dtype as has_dtype, is_array as is_array, is_key as is_key
from .messages import (
    output_path as output_path,
    says_axes_differ as says_axes_differ,
    says_checkpoint_lacks_complex as says_checkpoint_lacks_complex,
    says_closed_over as says_closed_over,
    says_constants_are_lost as says_constants_are_lost,
    says_no_reverse_mode as says_no_reverse_mode,
    says_unimplemented as says_unimplemented,
    wrong_cotangent as wrong_cotangent,
)
from .placement import (
    in_row_major_order as in_row_major_order,
    last_to_front as last_to_front,
    make_varying as make_varying,
    output_type as output_type,
    varying_axes as varying_axes,
)
from .processes import (
    ProcessGroup as ProcessGroup,
    finds_cluster as finds_cluster,
    process_group as process_group,
)
from .programs import (
    CUSTOM_CALLS as CUSTOM_CALLS,
    HIGH_CALL as HIGH_CALL,
    JIT as JIT,
    MESH_PRIMITIVES as MESH_PRIMITIVES,
    accumulates_in as accumulates_in,
    as_function as as_function,
    branch_index as branch_index,
    comparisons_of_indices as comparisons_of_indices,
    contracted_size as contracted_size,
    equations_in as equations_in,
    evaluate as evaluate,
    has_any_period as has_any_period,
    inner_programs as inner_programs,
    integers_in as integers_in,
    is_iterated_by_lapack as is_iterated_by_lapack,
    is_literal as is_literal,
    largest_array as largest_array,
    literals_of as literals_of,
    may_not_end as may_not_end,
    name_of as name_of,
    number_of_branches as number_of_branches,
    numbers_in as numbers_in,
    opened as opened,
    place_in_source as place_in_source,
    repetitions as repetitions,
    stops_gradient as stops_gradient,
    takes_bits as takes_bits,
    type_of as type_of,
    with_outputs as with_outputs,
)
from .rules import (
    RULE_CLASSES as RULE_CLASSES,
    Definition as Definition,
    Halves as Halves,
    definition_of as definition_of,
    differentiates as differentiates,
    halves_of as halves_of,
    is_batched_by_hand as is_batched_by_hand,
    is_hand_written as is_hand_written,
    rule_in as rule_in,
    unwrapped as unwrapped,
    wrapped_by as wrapped_by,
)
from .running import (
    is_tracing as is_tracing,
    unfiltered_tracebacks as unfiltered_tracebacks,
    without_logs_of_callbacks as without_logs_of_callbacks,
)
from .types import (
    Atom as Atom,
    ClosedJaxpr as ClosedJaxpr,
    Flags as Flags,
    Jaxpr as Jaxpr,
    JaxprEqn as JaxprEqn,
    Program as Program,
    ShapedArray as ShapedArray,
    Tracer as Tracer,
)
