"""The admin address of a process: `/metrics` (Prometheus), `/healthz`, `/readyz`."""

import errno
import socket
from collections.abc import Callable
from typing import Any, Literal

from aiohttp import web
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import generate_latest

from depthcast.shared.errors import SettingsError
from depthcast.shared.settings import variable

Readiness = Callable[[], tuple[bool, dict[str, Any]]]
"""Returns whether the process is ready, and details for the answer's body."""


Guard = Callable[[web.Request], None]
"""Raises `web.HTTPException` for a request that may not read metrics."""


def anybody(_request: web.Request) -> None:
    """Let everybody read metrics who reaches the address."""


def admin_routes(
    registry: CollectorRegistry, readiness: Readiness, guard: Guard = anybody
) -> list[web.RouteDef]:
    """Return the routes of the three endpoints."""

    async def metrics(request: web.Request) -> web.Response:
        guard(request)
        return web.Response(
            body=generate_latest(registry), headers={"Content-Type": "text/plain; version=0.0.4"}
        )

    return [web.get("/metrics", metrics), *health_routes(readiness)]


def health_routes(readiness: Readiness) -> list[web.RouteDef]:
    """Return the routes of `/healthz`, 200 while the process is up, and `/readyz`, 200 or 503."""

    async def healthz(_request: web.Request) -> web.Response:
        return web.json_response({"status": "up"})

    async def readyz(_request: web.Request) -> web.Response:
        ready, body = readiness()
        return web.json_response({"ready": ready, **body}, status=200 if ready else 503)

    return [web.get("/healthz", healthz), web.get("/readyz", readyz)]


async def serve_admin(
    host: str, port: int, registry: CollectorRegistry, readiness: Readiness, guard: Guard = anybody
) -> tuple[web.AppRunner, int]:
    """Start serving; returns the runner, whose cleanup ends it, and the port. Raises `SettingsError`."""
    app = web.Application()
    app.add_routes(admin_routes(registry, readiness, guard))
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    try:
        await web.TCPSite(runner, host, port).start()
    except OSError as error:
        await runner.cleanup()
        fault = at_fault(error)
        value = host if fault == "host" else port
        raise SettingsError(variable(f"admin_{fault}"), value, f"cannot be served on: {error}") from error
    return runner, runner.addresses[0][1]


def at_fault(error: OSError) -> Literal["host", "port"]:
    """Return which part of an address is why it cannot be served on."""
    unknown = isinstance(error, socket.gaierror) or error.errno == errno.EADDRNOTAVAIL
    return "host" if unknown else "port"
