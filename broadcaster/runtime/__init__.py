"""Input and output of the broadcaster: Redis scripts, clocks, the event loop."""
