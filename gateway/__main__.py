"""`python -m gateway`: the same as `depthcast gateway`."""

from depthcast.gateway.runtime.command import gateway

gateway()
