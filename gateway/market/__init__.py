"""What a gateway knows of the market: instruments, replicas, views and their recent deltas, live or stale.

Nothing here knows a client. Who is sent what, and when, is decided in `depthcast.gateway.delivery`.
"""
