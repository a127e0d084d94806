"""Measurements of Depthcast, and pictures of them."""
