"""Tests of `depthcast.gateway.delivery`."""
