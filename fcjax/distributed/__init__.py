"""Networks on several devices and in several processes: where arrays lie, and who takes part."""

from .agreement import (
    in_any_process as in_any_process,
    is_first_process as is_first_process,
    of_first_process as of_first_process,
    texts_of_all_processes as texts_of_all_processes,
    wait_for_all as wait_for_all,
)
from .placement import (
    LAYOUTS as LAYOUTS,
    Layout as Layout,
    check_mesh as check_mesh,
    check_shared as check_shared,
    mesh as mesh,
    number_of_shards as number_of_shards,
    on_mesh as on_mesh,
    padded as padded,
    place as place,
    place_batch as place_batch,
    place_parts as place_parts,
    shardings as shardings,
)
from .processes import abort as abort, initialize as initialize
