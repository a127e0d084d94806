"""Runs several gateway processes on one port: starts, restarts and ends them, and sums their metrics.

The workers share the port by SO_REUSEPORT: each has its own listening socket, and the kernel spreads
connections. The supervisor keeps the address bound, without listening, so that nobody else takes the port. A
worker's standard input is a pipe from the supervisor: when it reaches its end, the supervisor has ended or
crashed, and the worker ends too. A worker's standard output is a pipe of status lines, one JSON object each.
"""

import asyncio
import json
import logging
import os
import signal
import sys
import tempfile
from collections.abc import Collection, Sequence
from dataclasses import asdict
from typing import Any, Final

import click
from aiohttp import web
from prometheus_client import CollectorRegistry
from prometheus_client.multiprocess import mark_process_dead

from depthcast.gateway.counters import GatewayCounters
from depthcast.gateway.runtime.access import Access
from depthcast.gateway.runtime.drain import drained_within_s
from depthcast.gateway.runtime.metrics import WorkersMetrics
from depthcast.gateway.runtime.process import http_address, listening_socket
from depthcast.shared.backoff import Backoff, no_jitter
from depthcast.shared.errors import SettingsError
from depthcast.shared.networks import is_loopback
from depthcast.shared.runtime.admin import anybody, serve_admin
from depthcast.shared.runtime.process_metrics import ProcessMetrics
from depthcast.shared.runtime.redis import connect
from depthcast.shared.runtime.stop import Stop, set_within
from depthcast.shared.settings import (
    NOT_SETTINGS,
    VARIABLE_PREFIX,
    GatewaySettings,
    option,
    secrets,
    variable,
)

logger = logging.getLogger(__name__)

WORKER_MARK: Final = "DEPTHCAST_WORKER"
RESTART_FIRST_S: Final = 0.1
RESTART_MOST_S: Final = 5.0
STEADY_S: Final = 10.0
"""A worker that has run longer than this is restarted after the first wait."""
END_MARGIN_S: Final = 4.0
"""Beyond the time that draining may take, a worker has this long to end."""
BAD_SETTINGS_STATUS: Final = 2


class Worker:
    """One worker, restarted whenever it ends; `status`: its last report."""

    def __init__(
        self, number: int, environment: dict[str, str], directory: str, options: Sequence[str] = ()
    ) -> None:
        self.number = number
        self.environment = environment | {WORKER_MARK: str(number)}
        self.options = options
        self.directory = directory
        self.process: asyncio.subprocess.Process | None = None
        self.serving = asyncio.Event()
        self.status: dict[str, Any] = {"ready": False}

    async def keep(self, stop: asyncio.Event) -> None:
        """Keep the worker running until `stop` is set; raises `SettingsError` if it rejects its settings."""
        backoff = Backoff(RESTART_FIRST_S, RESTART_MOST_S, no_jitter)
        loop = asyncio.get_running_loop()
        while not stop.is_set():
            began = loop.time()
            status = await self._run_once()
            if stop.is_set():
                return
            if status == BAD_SETTINGS_STATUS:
                raise SettingsError(
                    "worker", self.number, "refused the settings that it shares with all; it said why above"
                )
            if loop.time() - began > STEADY_S:
                backoff.reset()
            wait_s = backoff.next_s()
            logger.error(
                "worker ended, starting another",
                extra={"worker": self.number, "status": status, "after_s": wait_s},
            )
            await set_within(stop, wait_s)

    async def _run_once(self) -> int:
        self.process = process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "depthcast.gateway",
            *self.options,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            env=self.environment,
        )
        assert process.stdout is not None
        async for line in process.stdout:
            self.status = json.loads(line)
            self.serving.set()
        self.status = {"ready": False}
        status = await process.wait()
        mark_process_dead(process.pid, self.directory)  # type: ignore[no-untyped-call]
        return status

    def hang_up(self) -> None:
        """Let the worker read its certificate again; one that does not serve yet reads the new one anyway."""
        if "draining" in self.status:
            self._send(signal.SIGHUP)

    def end(self) -> None:
        """Ask the worker to end."""
        self._send(signal.SIGTERM)

    def take_no_more(self) -> None:
        """Let the worker take no new clients."""
        if "draining" in self.status:
            self._send(signal.SIGUSR1)

    def end_at_once(self) -> None:
        """Tell the worker, which was asked to end, not to wait for anybody."""
        if self.process is not None and self.process.stdin is not None:
            self.process.stdin.write(b"!")

    def _send(self, number: int) -> None:
        if self.process is not None and self.process.returncode is None:
            self.process.send_signal(number)

    def kill(self) -> None:
        """Kill the worker."""
        self._send(signal.SIGKILL)


class Supervisor:
    """Runs `settings.workers` workers on one port."""

    def __init__(self, settings: GatewaySettings) -> None:
        self.settings = settings
        self.workers: list[Worker] = []
        self.stop = Stop()

    async def run(self, stop: Stop) -> None:
        """Run until `stop` is set, then end all workers; raises `SettingsError` if they cannot run."""
        self.stop = stop
        if self.settings.port:
            # First bind without sharing, to notice another server on the port instead of joining it.
            listening_socket(self.settings, self.settings.port, shared=False).close()
        bound = listening_socket(self.settings, self.settings.port, shared=True)
        with tempfile.TemporaryDirectory(prefix="depthcast-metrics-") as directory, bound:
            port = bound.getsockname()[1]
            environment = worker_environment(self.settings, port) | {"PROMETHEUS_MULTIPROC_DIR": directory}
            options = worker_options(self.settings, port)
            self.workers = [
                Worker(number, environment, directory, options) for number in range(self.settings.workers)
            ]
            loop = asyncio.get_running_loop()
            loop.add_signal_handler(signal.SIGUSR1, self._take_no_more)
            if self.settings.tls_cert:
                loop.add_signal_handler(signal.SIGHUP, self._hang_up)
            address = http_address(bound, tls=bool(self.settings.tls_cert))
            await self._serve(address, directory)

    def _hang_up(self) -> None:
        for worker in self.workers:
            worker.hang_up()

    def _take_no_more(self) -> None:
        for worker in self.workers:
            worker.take_no_more()

    async def _serve(self, address: str, directory: str) -> None:
        keepers = [asyncio.create_task(worker.keep(self.stop)) for worker in self.workers]
        admin = asyncio.create_task(self._announce(address, directory))
        stopped = asyncio.create_task(self.stop.wait())
        try:
            await asyncio.wait((stopped, *keepers), return_when=asyncio.FIRST_COMPLETED)
        finally:
            self.stop.set()
            for worker in self.workers:
                worker.end()
            await self._ended(keepers)
            for worker in self.workers:
                worker.kill()
            admin.cancel()
            await asyncio.gather(admin, return_exceptions=True)
        for keeper in keepers:
            keeper.result()

    async def _ended(self, keepers: Collection[asyncio.Task[None]]) -> None:
        """Wait until the workers have ended; a second request makes them end at once."""
        ended = asyncio.ensure_future(asyncio.wait(keepers))
        hurry = asyncio.create_task(self.stop.at_once.wait())
        most_s = drained_within_s(self.settings) + END_MARGIN_S
        await asyncio.wait((ended, hurry), timeout=most_s, return_when=asyncio.FIRST_COMPLETED)
        if hurry.done():
            for worker in self.workers:
                worker.end_at_once()
            await asyncio.wait((ended,), timeout=END_MARGIN_S)
        hurry.cancel()
        ended.cancel()

    async def _announce(self, address: str, directory: str) -> None:
        """Serve the admin address until cancelled; print the gateway's address once all workers serve."""
        runner: web.AppRunner | None = None
        checking: asyncio.Task[None] | None = None
        try:
            if self.settings.admin_port is not None:
                registry, counters = CollectorRegistry(), GatewayCounters()
                registry.register(WorkersMetrics(directory, counters))
                registry.register(ProcessMetrics("gateway", self._processes))
                host = self.settings.admin_host
                access = Access(self.settings, counters, connect, lambda _: None)
                checking = asyncio.create_task(access.run())
                guard = anybody if is_loopback(host) else access.guard
                port = self.settings.admin_port
                runner, port = await serve_admin(host, port, registry, self.readiness, guard)
                click.echo(f"admin listening on http://{host}:{port}")
            for worker in self.workers:
                await worker.serving.wait()
            click.echo(f"gateway listening on {address}")
            await asyncio.Event().wait()
        finally:
            if checking is not None:
                checking.cancel()
            if runner is not None:
                await runner.cleanup()

    def _processes(self) -> dict[str, int]:
        """Process IDs of the workers that run, by number."""
        processes = {str(worker.number): worker.process for worker in self.workers}
        return {
            number: process.pid
            for number, process in processes.items()
            if process is not None and process.returncode is None
        }

    def readiness(self) -> tuple[bool, dict[str, Any]]:
        """Ready if every worker is."""
        ready = all(worker.status.get("ready") for worker in self.workers) and not self.stop.is_set()
        return ready, {"workers": [worker.status for worker in self.workers]}


def worker_environment(settings: GatewaySettings, port: int) -> dict[str, str]:
    """A worker's environment: the supervisor's settings, with the port in use."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(VARIABLE_PREFIX) or name in NOT_SETTINGS
    }
    given = asdict(settings) | {"port": port, "workers": 1, "admin_port": None}
    return kept | {variable(name): str(value) for name, value in given.items() if value not in (None, "")}


def worker_options(settings: GatewaySettings, port: int) -> list[str]:
    """A worker's options: those of the supervisor, so that the worker's errors name them. No secrets."""
    apart = ("workers", "admin_port", *secrets())
    given = {name: value for name, value in asdict(settings).items() if name not in apart} | {"port": port}
    return [f"{option(name)}={value}" for name, value in given.items() if variable(name) in settings.typed]
