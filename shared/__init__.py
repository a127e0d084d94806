"""The wire contract in code: data types and rules that every Depthcast process shares.

Book, digest, codec, positions, keys, settings, errors and the reader's state machine are here, without input
and output. What opens a socket or reads a clock is in `depthcast.shared.runtime`.
"""
