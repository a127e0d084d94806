"""Stateless WebSocket workers: stream reader, replicas, views, sessions, conflation."""
