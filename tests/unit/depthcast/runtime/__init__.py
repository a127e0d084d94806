"""Tests of `depthcast.runtime`."""
