"""Tests of `depthcast.consumer`."""
