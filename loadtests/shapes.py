"""The shapes of an offered load, as stages with a rate of arrivals. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from loadtests.result import Stage

SHAPES = ("constant", "ramp", "steps", "spike", "soak", "breakpoint")
_STEPS = 5
_SPIKE = 3.0  # times the rate
_RAMP = 0.1  # of a soak's time goes into reaching its rate
_TOP = 2.0  # times the rate at which a breakpoint run ends


def stages(shape: str, rate: float, duration: float) -> tuple[Stage, ...]:
    """The stages of a shape that is named with one rate (arrivals a second) and one duration (seconds).

    constant: the rate throughout. ramp: from nothing to it. steps: five steps up to it. spike: the rate, three times as much in
    the middle fifth, the rate again. soak: reached within a tenth of the time, then held. breakpoint: climbs evenly to twice the
    rate, for `--abort-on-breach` to say where it broke. Raises ValueError for another name or for no load at all.
    """
    if not (rate > 0 and duration > 0):
        raise ValueError("the rate and the duration must be above 0")
    match shape:
        case "constant":
            return (Stage(duration, rate, rate),)
        case "ramp":
            return (Stage(duration, 0.0, rate),)
        case "steps":
            levels = [rate * (step + 1) / _STEPS for step in range(_STEPS)]
            return tuple(Stage(duration / _STEPS, level, level) for level in levels)
        case "spike":
            calm, peak = Stage(duration * 0.4, rate, rate), rate * _SPIKE
            return (calm, Stage(duration * 0.2, peak, peak), calm)
        case "soak":
            return (Stage(duration * _RAMP, 0.0, rate), Stage(duration * (1 - _RAMP), rate, rate))
        case "breakpoint":
            return (Stage(duration, 0.0, rate * _TOP),)
    raise ValueError(f"there is no shape {shape}; the shapes are {', '.join(SHAPES)}")


def expected(stages_of: Sequence[Stage], begins: float = 0.0, ends: float | None = None) -> float:
    """How many arrivals are due between two times (seconds from the start); all of them without an end."""
    found, at = 0.0, 0.0
    last = ends if ends is not None else duration_of(stages_of)
    for stage in stages_of:
        low, high = max(begins, at), min(last, at + stage.seconds)
        if high > low:
            found += (rate_in(stage, low - at) + rate_in(stage, high - at)) / 2 * (high - low)
        at += stage.seconds
    return found


def rate_in(stage: Stage, seconds: float) -> float:
    """Arrivals a second, `seconds` into a stage."""
    return stage.rate + (stage.until_rate - stage.rate) * seconds / stage.seconds


def duration_of(stages_of: Sequence[Stage]) -> float:
    """Seconds of all stages."""
    return sum(stage.seconds for stage in stages_of)


def peak(stages_of: Sequence[Stage]) -> float:
    """The highest rate of all."""
    return max(max(stage.rate, stage.until_rate) for stage in stages_of)
