"""Stateless WebSocket workers.

Imports point one way: `runtime` → `delivery` → `market` → `protocol`. `counters` stands below them all.
"""
