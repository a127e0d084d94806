"""Tests of `depthcast.shared.runtime`."""
