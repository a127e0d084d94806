"""Values in the query of a URL, as a message would have them: numbers and booleans.

Text that is neither goes on as it is, so that the checks of `depthcast.gateway.protocol.requests` refuse it
by name.
"""

from typing import Final

DIGITS_MAX: Final = 16
"""No number that a client may give has more digits, so a longer text is not made a number."""
BOOLEANS: Final = {"true": True, "false": False}


def number_in(text: str) -> int | str:
    """The whole number that a text is; any other text as it is."""
    return int(text) if text.isascii() and text.isdigit() and len(text) <= DIGITS_MAX else text


def boolean_in(text: str) -> bool | str:
    """True or false as in JSON; any other text as it is."""
    return BOOLEANS.get(text, text)
