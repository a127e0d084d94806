"""The files of `deploy/` without a container engine, run or read by their own programs."""
