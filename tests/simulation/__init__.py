"""Seeded simulations of the whole system."""
