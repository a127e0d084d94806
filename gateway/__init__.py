"""Stateless WebSocket workers: stream reader, replicas, views, sessions, conflation."""

from shared.compiled import prefer_source

prefer_source()
