"""Stateless WebSocket workers.

Imports point one way: `runtime` → `delivery` → `market` → `protocol`. `counters` is below them all.
"""
