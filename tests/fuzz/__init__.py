"""Random calls of every public function, valid and invalid, judged by what the tests expect."""

from . import (
    checker as checker,
    derivatives as derivatives,
    devices as devices,
    fitting as fitting,
    networks as networks,
    outside as outside,
    pictures as pictures,
    rules as rules,
    saving as saving,
    tabular as tabular,
    training as training,
)
