"""Input and output of the command line and the demo: processes, servers, files."""
