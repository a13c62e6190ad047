"""Verify hand-written gradients: the rules of fcjax, or your own."""

from ..forward_mode import (
    gauss_newton_product as gauss_newton_product,
    hvp as hvp,
    jacfwd as jacfwd,
    jvp as jvp,
    linearize as linearize,
)
from .budget import Budget as Budget
from .check import (
    assert_rule as assert_rule,
    check_at_points as check_at_points,
    check_rule as check_rule,
)
from .checks import CHECKS as CHECKS
from .cost import Cost as Cost, CostReport as CostReport, compare_cost as compare_cost
from .elementwise import check_elementwise as check_elementwise
from .report import CheckResult as CheckResult, RuleReport as RuleReport
from .rules import RuleCall as RuleCall, rules_in as rules_in, without_rules as without_rules
