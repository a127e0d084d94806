"""What a relay copies and when. Its input and output is in `depthcast.runtime`.

The contract of a copy is in `docs/protocol.md`, section 2.5.
"""
