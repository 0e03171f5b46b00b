"""The sinks of observations, one file each. None knows another; a sink is `Callable[[Observation], None]`."""
