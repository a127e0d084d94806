"""`python -m depthcast.gateway`, and `python -m gateway` in a checkout: the same as `depthcast gateway`."""

from depthcast.shared.runtime.extras import server_extra

if __name__ == "__main__":
    with server_extra():
        from depthcast.gateway.runtime.command import gateway
    gateway(prog_name="gateway")
