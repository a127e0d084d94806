"""Redis with the configuration of the composition: TLS, certificates of clients, users with few rights."""

import re
import shutil
import socket
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import redis
from redis.backoff import ConstantBackoff
from redis.exceptions import NoPermissionError
from redis.retry import Retry

from depthcast.shared.runtime.environment import read_environment
from depthcast.shared.settings import Settings

ROOT = Path(__file__).parents[2]
CONFIGURATION = (ROOT / "deploy" / "redis.conf").read_text(encoding="utf-8")
COMPOSE = (ROOT / "docker-compose.yml").read_text(encoding="utf-8")
PATIENT = Retry(ConstantBackoff(0.05), 200, supported_errors=(redis.ConnectionError,))


@dataclass
class Server:
    """A running server, and the folders of those who may connect."""

    port: int
    secrets: Path

    def url(self, name: str) -> str:
        """The address by the settings that the composition gives to a process."""
        (address,) = re.findall(r"^  DEPTHCAST_REDIS_URL: (\S+)$", COMPOSE, re.MULTILINE)
        here = address.replace("redis:6379", f"localhost:{self.port}")
        given = {
            "DEPTHCAST_REDIS_URL": here.replace("/secrets/", f"{self.secrets}/{name}/"),
            "DEPTHCAST_REDIS_USERNAME": name,
            "DEPTHCAST_REDIS_PASSWORD_FILE": str(self.secrets / name / "redis-password"),
        }
        return Settings.load(read_environment(given)).redis_url

    def client(self, name: str) -> redis.Redis:
        return redis.Redis.from_url(self.url(name), retry=PATIENT)


@pytest.fixture(scope="module")
def server(secrets: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    program = shutil.which("redis-server")
    if program is None:
        pytest.skip("there is no redis-server")
    folder = tmp_path_factory.mktemp("redis")
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    text = CONFIGURATION.replace("/secrets/", f"{secrets}/redis/").replace("dir /data", f"dir {folder}")
    text = text.replace("tls-port 6379", f"tls-port {port}\nbind 127.0.0.1")
    file = folder / "redis.conf"
    file.write_text(text, encoding="utf-8")
    process = subprocess.Popen([program, file], stdout=subprocess.PIPE, text=True)
    try:
        running = Server(port, secrets)
        with running.client("ingestor") as client:
            try:
                client.ping()
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


@pytest.mark.parametrize("name", ["ingestor", "gateway", "feed"])
def test_a_process_uses_the_keys_of_the_deployment_and_no_others(server: Server, name: str) -> None:
    with server.client(name) as client:
        assert client.ping()
        client.xadd("{depthcast:0}:events", {"AAA": "x"})
        client.hset("depthcast:sources", "AAA", "{}")
        for command in (
            lambda: client.set("other", 1),
            lambda: client.xadd("{other:0}:events", {"AAA": "x"}),
            client.flushall,
            lambda: client.config_set("appendonly", "no"),
            client.acl_list,
        ):
            with pytest.raises(NoPermissionError):
                command()


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
