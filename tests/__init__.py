"""Tests of Depthcast; each folder is one kind of proof."""
