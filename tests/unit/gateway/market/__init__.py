"""Tests of `depthcast.gateway.market`."""
