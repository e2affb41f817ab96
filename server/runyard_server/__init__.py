"""The runyard server."""
