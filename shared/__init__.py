"""The wire contract in code: what every Depthcast process agrees on.

Pure data types and rules live here: book, digest, codec, positions, keys, settings, errors, the reader's state machine.
Whatever opens a socket or reads a clock lives in `depthcast.shared.runtime`.
"""
