"""Recorded market data as input entries: pure parsers over lines, one module for each format.

A format's first pass over the lines finds its instruments, its second pass yields `FeedEntry`s with prices in ticks and
quantities in lots. Opening files is `depthcast.runtime.feed_file`'s part, sending them `depthcast.runtime.replay`'s.
"""
