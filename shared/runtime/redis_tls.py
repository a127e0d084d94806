"""TLS of connections to Redis: who is trusted, and the certificate that is shown.

Two differences from the library's own: authorities that are named are the only ones, not further ones beside
the system's; and an error names the files, which the system's text does not.
"""

import ssl
from typing import Any, NoReturn

from redis.exceptions import ConnectionError as RedisConnectionError


class ReadsTlsFiles:
    """A connection of the library whose TLS is set up here, if it has any."""

    def _connection_arguments(self) -> Any:
        wanted = getattr(self, "ssl_context", None)
        if wanted is not None and wanted.context is None:
            wanted.context = tls_context(wanted)
        return super()._connection_arguments()  # type: ignore[misc] # the library's


def tls_context(wanted: Any) -> ssl.SSLContext:
    """Make the context that the library's `RedisSSLContext` describes; raises its `ConnectionError`."""
    try:
        context = ssl.create_default_context(
            cafile=wanted.ca_certs, capath=wanted.ca_path, cadata=wanted.ca_data
        )
        context.check_hostname = wanted.check_hostname
        context.verify_mode = wanted.cert_reqs
        for flag in wanted.include_verify_flags or ():
            context.verify_flags |= flag
        for flag in wanted.exclude_verify_flags or ():
            context.verify_flags &= ~flag
        if wanted.certfile or wanted.keyfile:
            context.load_cert_chain(wanted.certfile, wanted.keyfile, wanted.password or _no_passphrase)
        if wanted.min_version is not None:
            context.minimum_version = wanted.min_version
        if wanted.ciphers is not None:
            context.set_ciphers(wanted.ciphers)
    except (OSError, ValueError) as error:  # an error of ssl is an OSError
        files = [path for path in (wanted.ca_certs, wanted.ca_path, wanted.certfile, wanted.keyfile) if path]
        problem = getattr(error, "reason", None) or getattr(error, "strerror", None) or str(error)
        raise RedisConnectionError(
            f"TLS cannot be set up with {', '.join(files) or 'these options'}: {problem}"
        ) from error
    return context


def _no_passphrase() -> NoReturn:
    """Called for a key that needs a passphrase, which the library would ask the terminal for."""
    raise ValueError("the key has a passphrase; write it without, readable by this user only")
