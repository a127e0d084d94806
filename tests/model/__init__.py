"""Exhaustive models of what several processes do with one stream: every interleaving within small bounds."""
