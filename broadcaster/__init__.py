"""Merges an interval's changes, numbers them and turns them into deltas and snapshots."""
