"""Tests of single modules, without input or output; the folders mirror the source."""
