"""The protocol number that both sides compare, and the version of the wheels."""

PROTOCOL = 1
VERSION = "0.1.0"
API_PREFIX = "/api/v1"
