"""Tests of `depthcast.producer`."""
