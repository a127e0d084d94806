"""Merges an interval's changes, numbers them and turns them into deltas and snapshots."""

from shared.compiled import prefer_source

prefer_source()
