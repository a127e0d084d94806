"""WebSocket by the letter: raw handshakes and frames, and the cases of the Autobahn test suite.

Where possible, what is expected is worked out from the rules of RFC 6455 and RFC 7692, not listed by hand.
"""
