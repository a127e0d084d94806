"""Unit tests of `gateway`."""
