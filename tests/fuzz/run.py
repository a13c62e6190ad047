"""Make the calls of one function, and count how they are answered."""

import dataclasses
import gc
import json
import re
import time

import jax
from hypothesis import HealthCheck, given, seed as seeded, settings

from .judge import Finding, judge
from .registry import PROPERTIES

QUIET = {"deadline": None, "database": None, "suppress_health_check": list(HealthCheck)}
# The part of the calls that is made with float64 on, where results may be in float64.
WIDE = 0.15


@dataclasses.dataclass
class Tally:
    """How calls were answered; the findings are texts with their number."""

    name: str
    valid: int = 0
    refused: int = 0
    seconds: float = 0.0
    findings: dict = dataclasses.field(default_factory=dict)

    @property
    def cases(self):
        return self.valid + self.refused + sum(count for count, _ in self.findings.values())

    def line(self):
        found = sum(count for count, _ in self.findings.values())
        return (
            f"{self.name:34} {self.cases:6} cases {self.valid:6} valid {self.refused:6} refused "
            f"{found:5} findings {self.seconds:6.1f} s"
        )

    def __str__(self):
        found = [f"  {count} x {text}" for count, text in self.findings.values()]
        return "\n".join([self.line(), *found])

    def __add__(self, other):
        both = {**self.findings, **{(other.name, *k): v for k, v in other.findings.items()}}
        return Tally(
            self.name,
            self.valid + other.valid,
            self.refused + other.refused,
            self.seconds + other.seconds,
            both,
        )

    def to_json(self):
        return json.dumps({**vars(self), "findings": list(self.findings.items())})

    @classmethod
    def from_json(cls, line):
        read = json.loads(line)
        found = {tuple(kind): tuple(finding) for kind, finding in read["findings"]}
        return cls(**{**read, "findings": found})

    def add(self, call):
        try:
            if judge(call) == "valid":
                self.valid += 1
            else:
                self.refused += 1
        except Finding as finding:
            kind = finding.kind, skeleton(finding.detail)
            count, text = self.findings.get(kind, (0, str(finding)))
            self.findings[kind] = count + 1, min(text, str(finding), key=len)


def skeleton(detail):
    """Return what two details have in common that say the same about different values."""
    return re.sub(r"[^a-zA-Z_ ]+", "#", str(detail).split("got")[0])[:40]


def properties():
    return sorted(PROPERTIES, key=lambda name: -PROPERTIES[name].cases)


def run(name, factor=1.0, seed=0):
    """Make the calls of one function; return the tally."""
    tally, start = Tally(name), time.process_time()
    of_name = PROPERTIES[name]
    cases = max(1, round(of_name.cases * factor))
    wide = round(cases * WIDE) if of_name.wide else 0
    each_call(of_name.calls, tally.add, cases - wide, seed)
    if wide:
        with jax.enable_x64(True):
            each_call(of_name.calls, tally.add, wide, seed + 1)
    tally.seconds = time.process_time() - start
    jax.clear_caches()
    gc.collect()
    return tally


def each_call(calls, function, cases, seed):
    """Apply a function to each of the drawn calls, the same ones in every run without a seed."""

    @settings(max_examples=cases, derandomize=seed is None, **QUIET)
    @given(calls)
    def make(call):
        function(call)

    (make if seed is None else seeded(seed)(make))()
