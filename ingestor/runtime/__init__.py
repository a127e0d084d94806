"""Input and output of the ingestor: Redis, clocks, the event loop."""
