"""`python -m depthcast` does the same as `depthcast`."""

from depthcast.cli.main import main

if __name__ == "__main__":
    main()
