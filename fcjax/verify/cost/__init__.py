"""What a hand-written rule saves against autodiff of the same function, and what it costs."""

from .compare import compare_cost as compare_cost
from .report import Cost as Cost, CostReport as CostReport
