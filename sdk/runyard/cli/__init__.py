"""The command ``runyard``: one file per noun, tables for people, ``--json`` for programs."""
