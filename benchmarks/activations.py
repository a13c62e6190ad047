"""The activations that are measured, and what they keep."""

from fcjax.activations import ACTIVATIONS as ALL, rule_of

# Each under one name; glu does not keep the shape of its argument.
ACTIVATIONS = tuple(sorted({function.__name__ for function in ALL.values()} - {"glu"}))
# The derivative is a function of the output, so that nothing else needs to be kept.
KEEPS_OUTPUT = tuple(name for name in ACTIVATIONS if rule_of(ALL[name]).keeps == "output")
