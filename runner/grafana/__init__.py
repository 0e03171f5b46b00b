"""Annotations in Grafana: a deployment from its start to its verdict, an outage from first failure to recovery; by both of its APIs.

An annotation stands there once, however often it is recorded, and is read back. A Grafana that is down stops nothing: the record
waits in the spool. See `recorder` for what the commands call.
"""

from runner.grafana.annotations import Grafana, Put
from runner.grafana.deployment import Job, detect, write_outputs
from runner.grafana.events import Deployment, Event, outage, revision_change
from runner.grafana.recorder import Flushed, Recorder, RecordOutcome, RecordState
from runner.grafana.spool import Kept, Spool
from runner.grafana.transport import Patience, Refused, Settings, Unavailable

__all__ = [
    "Deployment",
    "Event",
    "Flushed",
    "Grafana",
    "Job",
    "Kept",
    "Patience",
    "Put",
    "RecordOutcome",
    "RecordState",
    "Recorder",
    "Refused",
    "Settings",
    "Spool",
    "Unavailable",
    "detect",
    "outage",
    "revision_change",
    "write_outputs",
]
