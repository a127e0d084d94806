"""Recorded and synthetic market data as input entries; one module parses each recorded format.

A parser's first pass over the lines finds the instruments, the second yields `FeedEntry`s with prices in
ticks and quantities in lots. `depthcast.runtime.feed_file` opens files, `depthcast.runtime.replay` sends
entries.
"""
