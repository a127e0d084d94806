"""What users import and run: command line, WebSocket client, stream consumer, demo."""
