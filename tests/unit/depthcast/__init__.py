"""Unit tests of `depthcast`."""
