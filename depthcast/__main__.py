"""`python -m depthcast` and the command `depthcast`."""

from depthcast.shared.runtime.extras import server_extra


def main() -> None:
    """Run the command line, or say how to install it."""
    with server_extra():
        from depthcast.cli.main import main as command_line
    command_line()


if __name__ == "__main__":
    main()
