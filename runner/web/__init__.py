"""What a runner shows over HTTP: metrics, health, the status page, and the few things that may be operated."""
