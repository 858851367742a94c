"""Faults that the tests' S3 server commits on order, reproducibly."""

from __future__ import annotations

import random
import re
from dataclasses import dataclass, field
from typing import Literal

Kind = Literal["latency", "status", "reset", "truncate", "hang"]


@dataclass
class Fault:
    """One way to fail: which requests, how, before or after the effect took place, and how often."""

    kind: Kind
    op: str = ".*"  # a regular expression over the S3 action, such as PutObject
    key: str = ".*"
    when: Literal["before", "after"] = "before"
    status: int = 503
    code: str = "SlowDown"
    seconds: float = 0.0  # of latency, or how long a hanging request is held before the connection closes
    skip: int = 0  # how many matching requests pass first
    times: int | None = None  # how many are hit then; None means all
    probability: float = 1.0
    hits: int = 0
    seen: int = 0


@dataclass
class FaultPlan:
    """The faults in force; the first that matches and is due is committed."""

    seed: int = 0
    faults: list[Fault] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._random = random.Random(self.seed)

    def add(self, kind: Kind, **details: object) -> Fault:
        fault = Fault(kind, **details)  # type: ignore[arg-type] # the dataclass checks the names
        self.faults.append(fault)
        return fault

    def clear(self) -> None:
        self.faults.clear()

    def due(self, op: str, key: str) -> Fault | None:
        """The fault this request meets, if any; counts it."""
        for fault in self.faults:
            if not re.fullmatch(fault.op, op) or not re.search(fault.key, key):
                continue
            fault.seen += 1
            spent = fault.times is not None and fault.hits >= fault.times
            if fault.seen <= fault.skip or spent or self._random.random() >= fault.probability:
                continue
            fault.hits += 1
            return fault
        return None
