"""Which of the plan's checks this runner runs: all of them, those of a shard, or those of the slots that it holds by leases in Redis."""
