"""What a plan is read for."""

from __future__ import annotations

from enum import Enum, auto


class Purpose(Enum):
    """What a plan is read for. It decides whose values are needed; what is wrong with the file itself is always found."""

    RUN = auto()  # outrider run: the values of everything but the load section
    CHECKS = auto()  # probe, validate: those of the selected checks
    GATE = auto()  # those of the gate section, whose tags select where nothing else does, and of the selected checks
    LOAD = auto()  # those of the load section, of a scenario's target, and of the journeys to that target
    ANNOTATE = auto()  # those of the grafana section alone
    DRY_RUN = auto()  # validate --no-secrets: none; a variable that is set is used all the same, and no file is read
