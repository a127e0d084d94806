"""A rolling restart of a whole deployment under load: what does a client see of it? `make rolling`.

Its ingestors and gateways are restarted one after the other, as for an upgrade, behind HAProxy with the
configuration of the composition. Every client must be closed at most once, and go on without a gap and
without a snapshot that it did not need.
"""
