"""Benchmarks of the book itself: events a second, beside peers that keep books too."""
