"""Benchmarks of the ingestor as a process: from Redis through the books back to Redis."""
