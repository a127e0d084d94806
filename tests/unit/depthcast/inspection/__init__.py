"""Tests of `depthcast.inspection`."""
