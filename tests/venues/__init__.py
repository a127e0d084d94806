"""Fake venues: servers that speak a venue's protocol about a book that is known, with seeded faults."""
