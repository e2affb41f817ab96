"""The job: what runs on a node, between the executor that started it and the user's processes.

``node.py`` tells the order: ``fetch`` → ``spawn`` → (``report`` beside it) → ``collect``.
"""
