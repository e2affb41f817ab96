"""NotResponding: heartbeats are missing; the run heals by itself when they return."""

from runyard_server.lifecycle.running import Running


class NotResponding(Running):
    """→ Running when a heartbeat returns, Finalizing when its jobs are seen to be gone: the same watch."""
