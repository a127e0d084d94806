"""`python -m depthcast.ingestor` does the same as `depthcast ingestor`."""

from depthcast.shared.runtime.extras import server_extra

if __name__ == "__main__":
    with server_extra():
        from depthcast.ingestor.runtime.command import ingestor
    ingestor(prog_name="ingestor")
