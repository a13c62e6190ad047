"""Verification of hand-written gradients, of fcjax's rules and of anybody else's."""

from .checks import CHECKS as CHECKS
from .plain import RuleCall as RuleCall, rules_in as rules_in, without_rules as without_rules
from .report import CheckResult as CheckResult, RuleReport as RuleReport
from .rule import assert_rule as assert_rule, check_rule as check_rule
