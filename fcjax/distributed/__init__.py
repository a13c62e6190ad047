"""Networks on several devices and in several processes: where arrays lie, and who takes part.

Of several processes, all run the same program. Each calls these functions in the same order, and
holds the parts of the arrays that lie on its own devices.
"""

from .agreement import (
    OutOfStepError as OutOfStepError,
    is_first_process as is_first_process,
    largest_of_all_processes as largest_of_all_processes,
    of_all_processes as of_all_processes,
    of_first_process as of_first_process,
    other_than_first as other_than_first,
    texts_of_all_processes as texts_of_all_processes,
    wait_for_all as wait_for_all,
)
from .examples import (
    check_shared as check_shared,
    padded as padded,
    place_batch as place_batch,
    place_parts as place_parts,
)
from .layouts import (
    LAYOUTS as LAYOUTS,
    Layout as Layout,
    place as place,
    shardings as shardings,
)
from .meshes import (
    check_mesh as check_mesh,
    mesh as mesh,
    number_of_shards as number_of_shards,
)
from .processes import abort as abort, initialize as initialize
from .putting import on_mesh as on_mesh
