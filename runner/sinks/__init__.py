"""The places an observation goes, one file each. None knows another; a sink is `Callable[[Observation], None]`."""
