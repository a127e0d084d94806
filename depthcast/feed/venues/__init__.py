"""Adapters of trading venues, one module for each; what they have in common is in `depthcast.feed.venue`."""
