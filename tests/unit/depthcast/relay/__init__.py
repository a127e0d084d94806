"""Tests of the pure part of a relay."""
