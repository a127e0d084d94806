"""Tests of `depthcast.feed`."""
