"""Tests of `depthcast.capacity`."""
