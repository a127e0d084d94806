"""One set of expectations for every store: the simulated one and a real server."""
