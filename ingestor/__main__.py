"""`python -m ingestor` does the same as `depthcast ingestor`."""

from depthcast.ingestor.runtime.command import ingestor

if __name__ == "__main__":
    ingestor(prog_name="ingestor")
