"""Shipped test parts: contract suites, a clock, factories."""
