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
from depthcast.shared.runtime.stop import Stop
from depthcast.shared.settings import GatewaySettings

STATUS_S: Final = 0.25


def _obey_signals(process: GatewayProcess) -> None:
    """Let SIGUSR1 begin to drain, and SIGHUP read the certificate again, which ends a process without TLS."""
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGUSR1, process.drain.begin)
    if process.certificates is not None:
        loop.add_signal_handler(signal.SIGHUP, process.certificates.ask)


async def run_alone(settings: GatewaySettings, stop: Stop) -> None:
    """Run the only process, which prints its address and serves its admin address."""
    with listening_socket(settings, settings.port, shared=False) as bound:
        process = GatewayProcess(settings)
        _obey_signals(process)
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


async def run_worker(settings: GatewaySettings, stop: Stop, number: int) -> None:
    """Run one of several, which reports to the supervisor on standard output and ends with it.

    A service manager may send SIGTERM to all processes of a service, and then the supervisor sends it once
    more. So only the supervisor says that nothing is to be waited for.
    """
    for each in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(each, stop.ask)
    with listening_socket(settings, settings.port, shared=True) as bound:
        process = GatewayProcess(settings, number)
        _obey_signals(process)
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


async def _watch(stop: Stop) -> None:
    """End when standard input does, for the supervisor is gone; and at once when it says anything there."""
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    stop.ask(again=bool(await reader.read(1)))
