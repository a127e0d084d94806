"""Certificates of an authority that only the tests trust."""

import ssl
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

import trustme


class Files(NamedTuple):
    """Paths of a certificate and its private key, in PEM."""

    cert: str
    key: str


class Authority:
    """Makes certificates for this machine, in files in `folder`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.ca = trustme.CA()
        self.file = str(folder / "ca.pem")
        self.ca.cert_pem.write_to_path(self.file)

    def issue(self, name: str = "server", end: datetime | None = None) -> Files:
        """Write a new certificate and its key to `name`.pem and `name`.key; it is good until `end`."""
        made = self.ca.issue_cert("127.0.0.1", "localhost", common_name=name, not_after=end)
        files = Files(str(self.folder / f"{name}.pem"), str(self.folder / f"{name}.key"))
        made.private_key_pem.write_to_path(files.key)
        with Path(files.cert).open("wb") as file:
            file.writelines(blob.bytes() for blob in made.cert_chain_pems)
        return files

    def trusting(self, client: Files | None = None) -> ssl.SSLContext:
        """What a client needs to trust this authority, and to show the certificate `client`."""
        context = ssl.create_default_context(cafile=self.file)
        if client is not None:
            context.load_cert_chain(*client)
        return context
