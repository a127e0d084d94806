"""Tests of `depthcast.gateway.protocol`."""
