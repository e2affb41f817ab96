"""What happens to a run next: one file per status."""
