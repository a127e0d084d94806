"""Peers: small broadcast servers on other libraries, each doing the least it can for the same messages.

The scripts in this folder run in environments of their own and import nothing of Depthcast's packages.
"""
