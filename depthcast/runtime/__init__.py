"""Input and output of the command line: processes, servers, files."""
