"""Input and output of a gateway: the WebSocket server, the stream reader, clocks."""
