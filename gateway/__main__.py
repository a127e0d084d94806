"""`python -m gateway`: the same as `depthcast gateway`."""

from gateway.runtime.command import gateway

gateway()
