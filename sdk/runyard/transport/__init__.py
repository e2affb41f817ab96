"""One request method, and the ways to carry it: HTTP, or straight into an application (tests)."""
