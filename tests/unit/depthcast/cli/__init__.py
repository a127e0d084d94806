"""Tests of `depthcast.cli`."""
