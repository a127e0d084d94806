"""Tests of `depthcast.feed.venues`."""
