"""A gateway's view of the market: instruments, replicas, views and their recent deltas, live or stale.

Nothing here knows about clients. `depthcast.gateway.delivery` decides who is sent what, and when.
"""
