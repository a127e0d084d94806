"""Unit tests of `broadcaster`."""
