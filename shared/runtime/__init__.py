"""Input and output common to all processes: Redis access, following a delta stream, logs, the admin address."""
