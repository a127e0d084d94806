"""Unit tests of `deploy`."""
