"""`outrider load`: the order, the quota, the process and the live view of one load test."""
