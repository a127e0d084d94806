"""The command line: one module per command, options and output only.

What a command does is in the package it belongs to, or in `depthcast.runtime`.
"""
