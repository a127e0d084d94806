"""Input and output of all processes: Redis access, following `deltas`, logs, the admin address."""
