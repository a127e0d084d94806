"""Tests that kill, stall and partition parts of a running system."""
