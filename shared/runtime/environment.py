"""Reads the environment of a process, and the files that hold its secrets."""

import os
from collections.abc import Mapping
from typing import Final

from depthcast.shared.errors import SettingsError
from depthcast.shared.settings import file_variable, secrets, variable

FILE_BYTES_MAX: Final = 65_536


def read_environment(given: Mapping[str, str] = os.environ) -> dict[str, str]:
    """Return the variables, with each `DEPTHCAST_<SECRET>_FILE` replaced by the secret in that file.

    The file is read once; line ends behind the secret are not part of it. Raises `SettingsError` if it cannot
    be read or is empty, or if the secret is set too.
    """
    environment = dict(given)
    for name in secrets():
        path = environment.pop(file_variable(name), "")
        if not path:
            continue
        if environment.get(variable(name)):
            raise SettingsError(
                file_variable(name), path, f"is set, but {variable(name)} is set too; remove one"
            )
        environment[variable(name)] = _secret_in(path, file_variable(name))
    return environment


def _secret_in(path: str, name: str) -> str:
    try:
        with open(path, "rb") as file:  # noqa: PTH123  # a pipe or a device is read like a file
            raw = file.read(FILE_BYTES_MAX + 1)
        secret = raw.decode().rstrip("\r\n")
    except OSError as error:
        raise SettingsError(name, path, f"cannot be read: {error.strerror or type(error).__name__}") from None
    except ValueError:  # not UTF-8, or a path with a null character; the text of the error has the secret
        raise SettingsError(name, path, "must name a text file in UTF-8") from None
    if len(raw) > FILE_BYTES_MAX:
        raise SettingsError(name, path, f"must name a file of at most {FILE_BYTES_MAX} bytes")
    if not secret:
        raise SettingsError(name, path, "names an empty file")
    return secret
