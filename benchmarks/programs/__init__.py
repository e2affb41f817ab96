"""Programs that run inside a peer's environment or inside a run, and the timing loops they share."""
