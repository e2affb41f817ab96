"""The language in which runs are searched: a text, its tokens, and the tree that they make. Nothing of it is ever run."""
