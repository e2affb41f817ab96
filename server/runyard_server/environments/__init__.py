"""Environments: from what a person asks for to an interpreter with exactly these packages."""
