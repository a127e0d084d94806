"""Tests of `depthcast.client`."""
