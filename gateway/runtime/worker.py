"""One gateway process: alone, or as one of a supervisor's workers."""

import asyncio
import json
import signal
import sys
from typing import Final

import click

from depthcast.gateway.runtime.process import GatewayProcess, http_address, listening_socket
from depthcast.shared.networks import is_loopback
from depthcast.shared.runtime.admin import anybody, serve_admin
from depthcast.shared.runtime.process_metrics import ProcessMetrics
from depthcast.shared.settings import GatewaySettings

STATUS_S: Final = 0.25


def _reload_on_hangup(process: GatewayProcess) -> None:
    """Let the process read its certificate again at each SIGHUP, which ends one without TLS."""
    if process.certificates is not None:
        asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, process.certificates.ask)


async def run_alone(settings: GatewaySettings, stop: asyncio.Event) -> None:
    """Run the only process, which prints its address and serves its admin address."""
    with listening_socket(settings, settings.port, shared=False) as bound:
        process = GatewayProcess(settings)
        _reload_on_hangup(process)
        runner = None
        if settings.admin_port is not None:
            process.metrics.registry.register(ProcessMetrics("gateway"))
            runner, port = await serve_admin(
                settings.admin_host,
                settings.admin_port,
                process.metrics.registry,
                process.readiness,
                anybody if is_loopback(settings.admin_host) else process.access.guard,
            )
            click.echo(f"admin listening on http://{settings.admin_host}:{port}")
        address = http_address(bound, tls=process.certificates is not None)
        try:
            await process.run(bound, stop, lambda: click.echo(f"gateway listening on {address}"))
        finally:
            if runner is not None:
                await runner.cleanup()


async def run_worker(settings: GatewaySettings, stop: asyncio.Event, number: int) -> None:
    """Run one of several, which reports to the supervisor on standard output and ends with it."""
    with listening_socket(settings, settings.port, shared=True) as bound:
        process = GatewayProcess(settings, number)
        _reload_on_hangup(process)
        beside = [asyncio.create_task(_watch(stop))]
        try:
            await process.run(bound, stop, lambda: beside.append(asyncio.create_task(_report(process))))
        finally:
            for task in beside:
                task.cancel()
            await asyncio.gather(*beside, return_exceptions=True)


async def _report(process: GatewayProcess) -> None:
    said = ""
    while True:
        ready, body = process.readiness()
        del body["silence_ms"]  # else there would be a report each time
        line = json.dumps({"ready": ready, **body})
        if line != said:
            click.echo(line)
            said = line
        await asyncio.sleep(STATUS_S)


async def _watch(stop: asyncio.Event) -> None:
    """Set `stop` when standard input ends: the supervisor is gone."""
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    await reader.read()
    stop.set()
