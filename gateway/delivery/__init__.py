"""Who is sent what, and when: sessions, cursors, conflation, flushes.

Nothing here opens a socket or reads a clock; `depthcast.gateway.runtime` hands in connections and times.
"""
