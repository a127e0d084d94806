"""The command line: a module for each command, with its options and output.

The work of a command is done by `depthcast.runtime`, or by the package of its service.
"""
