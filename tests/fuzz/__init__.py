"""Random calls of every public function, valid and invalid, judged by what the tests expect."""

from . import rules as rules
from . import networks as networks
from . import derivatives as derivatives, devices as devices
from . import checker as checker, outside as outside, training as training
