"""What a deployment's state in Redis says: which keys nobody reads, what is wrong, and what to do.

Pure: `depthcast.runtime.inspect` asks the server, `depthcast.cli` shows the result.
"""
