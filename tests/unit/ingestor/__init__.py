"""Unit tests of `ingestor`."""
