"""How one run's processes find each other: pure arithmetic on nodes and ranks."""
