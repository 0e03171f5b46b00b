"""When to ask and what an answer means: schedule, execute, blame, findings, reload."""
