"""Redis with the configuration of the composition: TLS, certificates of clients, users with few rights."""

import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import redis
from redis.backoff import ConstantBackoff
from redis.exceptions import NoPermissionError
from redis.retry import Retry

from depthcast.runtime.ports import free_port
from depthcast.shared.runtime.environment import read_environment
from depthcast.shared.settings import Settings

ROOT = Path(__file__).parents[2]
CONFIGURATION = (ROOT / "deploy" / "redis.conf").read_text(encoding="utf-8")
COMPOSE = (ROOT / "docker-compose.yml").read_text(encoding="utf-8")
ROLES = {"ingestor": "ingestor", "gateway": "gateway", "feed": "feed", "token": "operator"}
"""Services that connect, with their roles."""
PATIENT = Retry(ConstantBackoff(0.05), 200, supported_errors=(redis.ConnectionError,))


@dataclass
class Server:
    """A running server, and the folders of those who may connect."""

    port: int
    secrets: Path
    folder: Path

    def url(self, name: str) -> str:
        """The address by the settings that the composition gives to a process."""
        given = dict(re.findall(r"^  (DEPTHCAST_REDIS_\w+): (\S+)$", COMPOSE, re.MULTILINE))
        given = {key: value.replace("/secrets/", f"{self.secrets}/{name}/") for key, value in given.items()}
        given["DEPTHCAST_REDIS_URL"] = given["DEPTHCAST_REDIS_URL"].replace(
            "redis:6379", f"localhost:{self.port}"
        )
        given["DEPTHCAST_REDIS_USERNAME"] = f"depthcast-{ROLES[name]}"
        return Settings.load(read_environment(given)).redis_url

    def client(self, name: str) -> redis.Redis:
        return redis.Redis.from_url(self.url(name), retry=PATIENT)


@pytest.fixture(scope="module")
def server(secrets: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    program = shutil.which("redis-server")
    if program is None:
        pytest.skip("there is no redis-server")
    folder = tmp_path_factory.mktemp("redis")
    port = free_port()
    text = CONFIGURATION.replace("/secrets/", f"{secrets}/redis/").replace("dir /data", f"dir {folder}")
    text = text.replace("tls-port 6379", f"tls-port {port}\nbind 127.0.0.1")
    file = folder / "redis.conf"
    file.write_text(text, encoding="utf-8")
    process = subprocess.Popen([program, file], stdout=subprocess.PIPE, text=True)
    try:
        running = Server(port, secrets, folder)
        with running.client("ingestor") as client:
            try:
                client.time()
            except redis.ConnectionError:
                process.terminate()
                said = process.communicate(timeout=15)[0]
                if "tls-port" in said:
                    pytest.skip("this redis-server has no TLS")
                raise
        yield running
    finally:
        process.terminate()
        process.communicate(timeout=15)


MAY: dict[str, dict[str, Callable[[redis.Redis], object]]] = {
    "ingestor": {"publish": lambda client: client.xadd("{depthcast:0}:deltas", {"_": "x"}, id="*")},
    "gateway": {"list itself": lambda client: client.zadd("depthcast:gateways", {"a": 1})},
    "feed": {"name itself": lambda client: client.hset("{depthcast:0}:feeders", "AAA", "x")},
    "token": {"revoke": lambda client: client.zadd("depthcast:revoked", {"sub:mallory": 9e9})},
}
NOBODY_MAY: dict[str, Callable[[redis.Redis], object]] = {
    "use other keys": lambda client: client.set("other", 1),
    "write to another deployment": lambda client: client.xadd("{other:0}:events", {"AAA": "x"}),
    "empty the server": lambda client: client.flushall(),
    "configure the server": lambda client: client.config_set("appendonly", "no"),
    "see users": lambda client: client.acl_list(),
}


@pytest.mark.parametrize("name", MAY)
def test_a_process_may_do_what_it_does_and_nothing_else(server: Server, name: str) -> None:
    with server.client(name) as client:
        for what in MAY[name].values():
            what(client)
        others = {what: act for other, acts in MAY.items() if other != name for what, act in acts.items()}
        for act in (NOBODY_MAY | others).values():
            with pytest.raises(NoPermissionError):
                act(client)


def test_the_server_keeps_what_it_is_given(server: Server) -> None:
    with server.client("ingestor") as client:
        info = client.info()
    assert (info["aof_enabled"], info["maxmemory_policy"], info["maxmemory"]) == (
        1,
        "noeviction",
        512 * 2**20,
    )


def test_who_has_no_certificate_or_no_password_gets_nothing(server: Server) -> None:
    authority = str(server.secrets / "redis" / "ca.pem")
    with (
        redis.Redis("localhost", server.port, ssl=True, ssl_ca_certs=authority) as stranger,
        pytest.raises(redis.ConnectionError),
    ):
        stranger.ping()
    with redis.Redis("localhost", server.port) as plain, pytest.raises(redis.ConnectionError):
        plain.ping()
    named = re.sub(r"//[^@]*@", "//", server.url("gateway"))
    with redis.Redis.from_url(named) as nameless, pytest.raises(redis.AuthenticationError):
        nameless.ping()


def test_the_user_of_the_health_check_can_do_nothing_else(server: Server) -> None:
    named = re.sub(r"//[^@]*@", "//health:none@", server.url("gateway"))
    with redis.Redis.from_url(named) as client:
        assert client.ping()
        for command in (client.info, lambda: client.get("depthcast:meta")):
            with pytest.raises(NoPermissionError):
                command()


def test_a_restart_loses_no_transaction(server: Server, tmp_path: Path) -> None:
    """Redis replays its file as the user `default`, and leaves out what that user may not do."""
    with server.client("ingestor") as client, client.pipeline(transaction=True) as together:
        together.hset("{depthcast:0}:symbols", "AAA", "1")
        together.hset("{depthcast:0}:symbols", "BBB", "2")
        together.execute()
    shutil.copytree(server.folder / "appendonlydir", tmp_path / "appendonlydir")
    text = (server.folder / "redis.conf").read_text(encoding="utf-8")
    text = text.replace(f"dir {server.folder}", f"dir {tmp_path}").replace(
        f"tls-port {server.port}", "tls-port 0"
    )
    (tmp_path / "redis.conf").write_text(f"{text}\nunixsocket {tmp_path}/socket\n", encoding="utf-8")
    process = subprocess.Popen(["redis-server", tmp_path / "redis.conf"], stdout=subprocess.DEVNULL)
    try:
        named = re.search(r"//([^:]+):([^@]*)@", server.url("ingestor"))
        assert named is not None
        with redis.Redis(
            unix_socket_path=f"{tmp_path}/socket", username=named[1], password=named[2], retry=PATIENT
        ) as again:
            assert again.hgetall("{depthcast:0}:symbols") == {b"AAA": b"1", b"BBB": b"2"}
    finally:
        process.terminate()
        process.wait(15)
