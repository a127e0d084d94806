"""Tests against a real server and real sockets."""
