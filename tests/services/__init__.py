"""Real services for tests: servers that listen, and can be killed."""
