"""`outrider run`: the always-on runner put together, its reload and what it does about deployments."""
