"""The token that commands present to a gateway, which is in the environment or in a file, never an option."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from depthcast.client.token import Token
from depthcast.shared.errors import SettingsError

VARIABLE: Final = "DEPTHCAST_TOKEN"
FILE_VARIABLE: Final = "DEPTHCAST_TOKEN_FILE"


def gateway_token(environment: Mapping[str, str] = os.environ) -> Token:
    """Return the token in the environment, None if there is none; raises `SettingsError`.

    A file is read again for each connection, and before the token expires, so that it may be replaced.
    """
    token, path = environment.get(VARIABLE), environment.get(FILE_VARIABLE)
    if token and path:
        raise SettingsError(FILE_VARIABLE, path, f"is set, but {VARIABLE} is set too; remove one")
    if not path:
        return token or None
    _read(path)  # at once, so that a mistake ends the command
    return lambda: _read(path)


def _read(path: str) -> str:
    try:
        token = Path(path).read_text(encoding="ascii").strip()
    except OSError as error:
        raise SettingsError(
            FILE_VARIABLE, path, f"cannot be read: {error.strerror or type(error).__name__}"
        ) from None
    except ValueError:  # its text would have the token
        raise SettingsError(FILE_VARIABLE, path, "must name a file with a token, which is ASCII") from None
    if not token:
        raise SettingsError(FILE_VARIABLE, path, "names an empty file")
    return token
