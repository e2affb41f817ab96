"""Runyard's figures beside its peers' and beside the floor, from one run on one machine."""
