"""Fan-out: what the gateway costs, as it is shipped, beside servers that do less.

The gateway is `python -m gateway` on a Redis of its own, fed with entries as an ingestor writes them. Every
server runs alone on one core; Redis, the load (`benchmarks/native/drain.c`) and this process are on the
others. Cost is the server process's CPU time by the scheduler's account, divided by the messages that
arrived.
"""
