"""The words on the wire: frozen dataclasses and enums that client, job and server share.

Standard library only, Python 3.7 syntax. Nothing here does I/O.
"""
