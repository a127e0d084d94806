"""The wire contract in code: data types and rules that every Depthcast process shares.

Book, digest, codec, positions, keys, settings, errors and the reader's state machine are here, without input
and output. Code that opens sockets or reads clocks is in `depthcast.shared.runtime`.
"""
