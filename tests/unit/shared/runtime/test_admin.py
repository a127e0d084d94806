"""Why an address cannot be served on: its host or its port."""

import errno
import socket

import pytest

from depthcast.gateway.runtime.process import listening_socket
from depthcast.shared.errors import SettingsError
from depthcast.shared.runtime.admin import at_fault
from depthcast.shared.settings import GatewaySettings


@pytest.mark.parametrize(
    ("error", "part"),
    [
        (socket.gaierror(socket.EAI_NONAME, "Name or service not known"), "host"),
        (OSError(errno.EADDRNOTAVAIL, "Cannot assign requested address"), "host"),
        (OSError(errno.EADDRINUSE, "Address already in use"), "port"),
        (PermissionError(errno.EACCES, "Permission denied"), "port"),
    ],
)
def test_the_part_of_an_address_that_is_at_fault(error: OSError, part: str) -> None:
    assert at_fault(error) == part


def test_a_gateway_names_the_setting_that_is_at_fault() -> None:
    elsewhere = GatewaySettings(host="192.0.2.1", anonymous=True)  # for documents: no machine has it
    with pytest.raises(SettingsError, match=r"^DEPTHCAST_HOST: '192\.0\.2\.1:0' cannot be served on"):
        listening_socket(elsewhere, 0, shared=False)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(SettingsError, match=rf"^DEPTHCAST_PORT: '127\.0\.0\.1:{port}' cannot be served"):
            listening_socket(GatewaySettings(), port, shared=False)
