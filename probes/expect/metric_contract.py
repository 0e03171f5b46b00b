"""The metrics that a service promises, as data: for the check that compares them with /metrics, and for whatever else draws on them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Self

import yaml
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from probes.expect.conditions import Condition
from probes.expect.metric_names import NAME

MOST_FAMILIES = 500  # of one contract
LARGEST = 1024 * 1024  # bytes of a contract file
MetricType = Literal["counter", "gauge", "histogram", "summary", "info", "stateset", "gaugehistogram", "untyped"]


def _metric_name(text: str) -> str:
    if not NAME.match(text.replace(":", "_")):
        raise ValueError(f"{text} is no name of a metric; letters, digits and _ are")
    return text


MetricName = Annotated[str, AfterValidator(_metric_name)]


class ValueRule(Condition):
    """What the values of a family must be: of all its samples, or of those with certain labels."""

    non_operators: ClassVar[frozenset[str]] = Condition.non_operators | {"labels", "sample"}

    labels: dict[str, Condition] = Field(default={}, description="Conditions for labels: the rule is for the samples that meet them.")
    sample: Literal["", "count", "sum", "bucket"] = Field(
        default="", description="count, sum or bucket: which series of a histogram or a summary; by default the count of a histogram."
    )

    def concerns(self, labels: Mapping[str, str]) -> bool:
        """Whether the rule is for a sample with these labels. An absent label is an empty one, as in PromQL."""
        return all(not any(wanted.faults(wanted.read_text(labels.get(name, "")))) for name, wanted in self.labels.items())


class FamilyContract(BaseModel):
    """What one family must be."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    type: MetricType | None = Field(default=None, description="The type that it must have.")
    labels: tuple[str, ...] = Field(default=(), description="The labels that each of its samples must have.")
    more_labels: bool = Field(default=True, description="false: no other label is allowed.")
    required: bool = Field(default=True, description="false: the family may be absent.")
    samples: bool = Field(default=True, description="false: it may be declared without a sample, as a counter of what hasn't happened.")
    series: int | None = Field(default=None, ge=1, description="The most series that it may have.")
    values: tuple[ValueRule, ...] = Field(default=(), max_length=50, description="Conditions for its values, by labels.")
    buckets: tuple[float, ...] = Field(default=(), description="Upper edges that a histogram must have, such as the thresholds of SLOs.")
    aliases: tuple[MetricName, ...] = Field(default=(), max_length=10, description="Other names under which it is looked for, in order.")
    may_fall: bool = Field(default=False, description="true: its counters may fall without a restart of the process.")
    unconventional: bool = Field(default=False, description="true: its name may break the conventions.")
    unit: str = Field(default="", description="The unit of its values, for readers.")
    help: str = Field(default="", description="What it counts or measures, for readers.")

    @model_validator(mode="after")
    def _edges_are_of_histograms(self) -> Self:
        if self.buckets and self.type not in (None, "histogram", "gaugehistogram"):
            raise ValueError(f"buckets are of histograms, and this is a {self.type}")
        return self


class Contract(BaseModel):
    """A contract file: the families by the name that queries use (a counter's with `_total`)."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    version: Literal[1] = 1
    families: dict[MetricName, FamilyContract] = Field(min_length=1, max_length=MOST_FAMILIES)


def read_contract(file: Path) -> Contract:
    """The contract in a file. Raises ValueError with the file, the line and the key of each mistake."""
    try:
        with file.open("rb") as stream:
            text = stream.read(LARGEST + 1)
    except OSError as error:
        raise ValueError(f"can't read {file}: {error.strerror}") from None
    if len(text) > LARGEST:
        raise ValueError(f"{file} has more than {LARGEST:,} bytes")
    try:
        node = yaml.compose(text, Loader=yaml.SafeLoader)
        data = yaml.safe_load(text)
    except yaml.MarkedYAMLError as error:
        line = f":{error.problem_mark.line + 1}" if error.problem_mark else ""
        raise ValueError(f"{file}{line}: {error.problem}") from None
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise ValueError(f"{file} is no YAML: {error}") from None
    try:
        return Contract.model_validate(data)
    except ValidationError as errors:
        problems = {}
        for one in errors.errors(include_url=False, include_input=False):
            place = [part for part in one["loc"] if part != "[key]"]
            problems[f"{file}:{_line(node, place)}: {'.'.join(map(str, place)) or 'the file'}"] = one["msg"].removeprefix("Value error, ")
        raise ValueError("; ".join(f"{where}: {what}" for where, what in problems.items())) from None


def _line(node: yaml.Node | None, place: Sequence[Any]) -> int:
    """The line of what a path leads to, or of the nearest around it."""
    line = node.start_mark.line + 1 if node is not None else 1
    for part in place:
        if isinstance(node, yaml.MappingNode):
            found = next(((key, value) for key, value in node.value if key.value == str(part)), None)
            if found is None:
                return line
            line, node = found[0].start_mark.line + 1, found[1]
        elif isinstance(node, yaml.SequenceNode) and isinstance(part, int) and part < len(node.value):
            node = node.value[part]
            line = node.start_mark.line + 1
        else:
            return line
    return line
