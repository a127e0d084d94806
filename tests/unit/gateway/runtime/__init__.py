"""Tests of `depthcast.gateway.runtime`."""
