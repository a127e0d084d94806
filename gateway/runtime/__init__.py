"""The gateway's input and output: Redis in, WebSocket and HTTP out, clocks, processes, metrics."""
