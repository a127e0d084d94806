"""A server that speaks TLS only to who has a certificate, and lets in only users with least rights."""

import re
from collections import defaultdict
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from copy import copy
from pathlib import Path
from typing import Any, NoReturn
from urllib.parse import quote

import pytest
import redis
from click.testing import CliRunner
from redis.asyncio.connection import AbstractConnection

from depthcast.cli.main import main
from depthcast.runtime.embedded import EmbeddedServer, ServerStartError
from depthcast.runtime.ports import free_port
from depthcast.runtime.server_binary import ServerBinary
from depthcast.shared.redis_roles import ROLES, user_of
from depthcast.shared.redis_url import with_tls_files
from depthcast.shared.runtime import direct
from tests.certificates import Authority, Files
from tests.clusters import MASTERS, Cluster

PREFIX = "limited"
ADMINISTRATOR = "default"
_CALLED = re.compile(r"redis\.p?call\('(\w+)'(?:, *'(STREAM)')?")
EVERYTHING = "user default on nopass ~* &* +@all\n"
_WITHOUT_TLS = ("tls-", "Failed finding TLS support")
"""What Redis and Valkey say of a port for TLS that they cannot serve."""
_WITH_SUBCOMMANDS = ("cluster", "script", "xinfo")
_OF_CONNECTIONS = ("auth", "hello")


class LimitedServer:
    """Its addresses by role. `passwords`: the folder of `depthcast redis-acl`; `client`: a certificate."""

    def __init__(self, folder: Path, authority: Authority, port: int) -> None:
        self.authority = authority
        self.client: Files = authority.issue("redis-client")
        self.passwords = folder / "passwords"
        self.port = port

    def url(self, role: str) -> str:
        """The address for the user of a role."""
        password = self.password_file(role).read_text(encoding="utf-8").strip()
        user = ADMINISTRATOR if role == ADMINISTRATOR else user_of(role, PREFIX)
        plain = f"rediss://{user}:{quote(password)}@127.0.0.1:{self.port}/0"
        return with_tls_files(plain, self.authority.file, *self.client)

    def password_file(self, role: str) -> Path:
        return self.passwords / role

    def variables(self, role: str) -> dict[str, str]:
        """The settings of a process of this role, as an operator gives them."""
        return {
            "DEPTHCAST_REDIS_URL": f"rediss://127.0.0.1:{self.port}/0",
            "DEPTHCAST_REDIS_USERNAME": user_of(role, PREFIX),
            "DEPTHCAST_REDIS_PASSWORD_FILE": str(self.password_file(role)),
            "DEPTHCAST_REDIS_TLS_CA": self.authority.file,
            "DEPTHCAST_REDIS_TLS_CERT": self.client.cert,
            "DEPTHCAST_REDIS_TLS_KEY": self.client.key,
            "DEPTHCAST_PREFIX": PREFIX,
        }

    def administrate(self, *command: str) -> Any:
        """Send one command as the administrator, in a cluster to the server at `port`."""
        with redis.Redis.from_url(LimitedServer.url(self, ADMINISTRATOR), protocol=2) as client:
            return client.execute_command(*command)

    def refusals(self) -> list[str]:
        """What the server refused since the last time, as user, reason and object."""
        entries = self.administrate("ACL", "LOG")
        self.administrate("ACL", "LOG", "RESET")
        refused = []
        for flat in entries:
            entry = dict(zip(flat[::2], flat[1::2], strict=True))
            refused.append(b" ".join(entry[name] for name in (b"username", b"reason", b"object")).decode())
        return refused


class LimitedCluster(LimitedServer):
    """The same of the servers of a cluster, of which `ports` are those for TLS."""

    def __init__(self, folder: Path, authority: Authority, ports: Sequence[int]) -> None:
        super().__init__(folder, authority, ports[0])
        self.ports = ports

    def url(self, role: str) -> str:
        """The address of the cluster for the user of a role."""
        user, files = super().url(role).split("@")
        places = ",".join(f"127.0.0.1:{port}" for port in self.ports)
        return f"{user.replace('rediss', 'rediss+cluster')}@{places}?{files.partition('?')[2]}"

    def variables(self, role: str) -> dict[str, str]:
        places = ",".join(f"127.0.0.1:{port}" for port in self.ports)
        return {**super().variables(role), "DEPTHCAST_REDIS_URL": f"rediss+cluster://{places}"}

    def refusals(self) -> list[str]:
        """What any server refused since the last time."""
        found = []
        for port in self.ports:
            self.port = port
            found += super().refusals()
        return found


@asynccontextmanager
async def limited_cluster(
    folder: Path, authority: Authority, binary: ServerBinary | None = None
) -> AsyncIterator[tuple[Cluster, LimitedCluster]]:
    """Run one in which every server has the list that `depthcast redis-acl` prints, as `limited_server`."""
    ports = [free_port() for _ in range(2 * MASTERS)]
    certificate, users = authority.issue("redis"), folder / "users.acl"
    users.write_text(EVERYTHING)
    among_each_other = {"tls-cluster": "yes", "tls-replication": "yes"}
    options = [{**_tls_options(port, certificate, authority, users), **among_each_other} for port in ports]
    async with AsyncExitStack() as stack:
        try:
            cluster = await stack.enter_async_context(Cluster(binary, options=options))
        except ServerStartError as error:
            _skip_without_tls(error)
        limited = LimitedCluster(folder, authority, ports)
        users.write_text(_printed(limited))
        password = limited.password_file(ADMINISTRATOR).read_text(encoding="utf-8").strip()
        for server in cluster.servers:
            await cluster.ask(server, "CONFIG", "SET", "masteruser", ADMINISTRATOR, "masterauth", password)
        for server in cluster.servers:
            await cluster.ask(server, "ACL", "LOAD")
        cluster.login = f"{ADMINISTRATOR}:{quote(password)}@"
        yield cluster, limited


def _tls_options(port: int, certificate: Files, authority: Authority, users: Path) -> dict[str, str]:
    return {
        "tls-port": str(port), "tls-cert-file": certificate.cert, "tls-key-file": certificate.key,
        "tls-ca-cert-file": authority.file, "tls-auth-clients": "yes", "aclfile": str(users),
    }  # fmt: skip


def _skip_without_tls(error: ServerStartError) -> NoReturn:
    if any(said in error.log for said in _WITHOUT_TLS):
        pytest.skip("the server is built without TLS")
    raise error


def _printed(limited: LimitedServer) -> str:
    """The list for all roles, whose passwords it makes."""
    words = ["redis-acl", *ROLES, "--passwords", str(limited.passwords), "--prefix", PREFIX]
    printed = CliRunner().invoke(main, words)
    assert printed.exit_code == 0, printed.output
    return printed.output


@contextmanager
def limited_server(folder: Path, authority: Authority) -> Iterator[LimitedServer]:
    """Run one with the list that `depthcast redis-acl` prints; skips the test if no server speaks TLS."""
    certificate, users, port = authority.issue("redis"), folder / "users.acl", free_port()
    users.write_text(EVERYTHING)
    server = EmbeddedServer(options=_tls_options(port, certificate, authority, users))
    try:
        server.start()
    except ServerStartError as error:
        _skip_without_tls(error)
    try:
        limited = LimitedServer(folder, authority, port)
        users.write_text(_printed(limited))
        with redis.Redis.from_url(server.url, protocol=2) as client:
            client.acl_load()
        yield limited
    finally:
        server.stop()


@contextmanager
def limited_replica(limited: LimitedServer, folder: Path) -> Iterator[LimitedServer]:
    """Run a replica of a server of `limited_server`, which follows it over TLS and has the same list."""
    certificate, users, port = limited.authority.issue("redis-replica"), folder / "replica.acl", free_port()
    users.write_text(EVERYTHING)
    options = {**_tls_options(port, certificate, limited.authority, users), "tls-replication": "yes"}
    with EmbeddedServer(options=options) as server:
        replica = copy(limited)
        replica.port = port
        password = limited.password_file(ADMINISTRATOR).read_text(encoding="utf-8").strip()
        with redis.Redis.from_url(server.url, protocol=2) as client:
            client.config_set("masteruser", ADMINISTRATOR)
            client.config_set("masterauth", password)
            client.replicaof("127.0.0.1", str(limited.port))
            users.write_text((folder / "users.acl").read_text(encoding="utf-8"))
            client.acl_load()
        yield replica


@contextmanager
def recording(monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, set[str]]]:
    """Role → the commands that connections of its user send from this process, in scripts too."""
    sent: dict[str, set[str]] = defaultdict(set)
    packed, borrowed = AbstractConnection.pack_command, direct._BorrowedConnection.send

    def pack(connection: Any, *words: Any) -> Any:
        _note(sent[_role_of(connection)], *words)
        return packed(connection, *words)

    def send(self: Any, command: bytes) -> Any:
        _note(sent[_role_of(self.connection)], command.split(b"\r\n", 3)[2])
        return borrowed(self, command)

    with monkeypatch.context() as patch:
        patch.setattr(AbstractConnection, "pack_command", pack)
        patch.setattr(direct._BorrowedConnection, "send", send)
        yield sent


def _role_of(connection: Any) -> str:
    return str(connection.username).removeprefix(f"{PREFIX}-")


def _note(commands: set[str], *words: Any) -> None:
    texts = [word.decode("utf-8", "replace") if isinstance(word, bytes) else str(word) for word in words[:3]]
    texts = [*texts[0].split(), *texts[1:]]
    name = texts[0].lower()
    if name in _OF_CONNECTIONS:
        return
    commands.add(f"{name}|{texts[1].lower()}" if name in _WITH_SUBCOMMANDS else name)
    if name in ("eval", "script"):
        script = texts[1] if name == "eval" else texts[2]
        for called, stream in _CALLED.findall(script):
            commands.add(f"{called.lower()}|{stream.lower()}" if stream else called.lower())
