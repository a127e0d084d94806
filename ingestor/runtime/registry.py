"""Registers the deployment and its instruments in Redis (`docs/protocol.md`, section 2).

Only ingestors write these keys.
"""

import logging
from collections.abc import Mapping
from pathlib import Path

from redis.asyncio import Redis

from depthcast.shared.errors import InstrumentsError, SettingsError
from depthcast.shared.instruments import LISTING_WANTED_MAX, Instrument, from_json, parse_toml, to_json
from depthcast.shared.keys import DeploymentKeys
from depthcast.shared.listing import Listing
from depthcast.shared.partition import partition_of
from depthcast.shared.protocol import PROTOCOL
from depthcast.shared.runtime.catalog import Deployed, read_deployed
from depthcast.shared.runtime.listing_record import read_record
from depthcast.shared.runtime.redis import execute, read_hash, run_pipeline
from depthcast.shared.slots import spread_tags, tags_text

logger = logging.getLogger(__name__)

PARTITIONS_DEFAULT = 1

REGISTERED_PER_TRIP = 500
"""So many instruments are registered in one round trip."""


def read_instruments_file(path: str | None) -> Mapping[str, Instrument]:
    """Read the instruments of the TOML file at `path`, none if unset; raises `SettingsError`."""
    if path is None:
        return {}
    try:
        parsed = parse_toml(Path(path).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError("DEPTHCAST_INSTRUMENTS", path, f"cannot be read: {error}") from error
    except InstrumentsError as error:
        raise SettingsError("DEPTHCAST_INSTRUMENTS", path, f"cannot be used: {error}") from error
    return {str(symbol): instrument for symbol, instrument in parsed.items()}


async def register_deployment(
    client: Redis, keys: DeploymentKeys, wanted: int | None, incarnation: str
) -> Deployed:
    """Create the deployment if it does not exist, and return what it is.

    `incarnation` becomes the name of its data unless it has one. In a cluster, a new deployment records a
    hash tag for each partition, so that their slots are evenly spaced; one that exists without keeps those of
    its prefix. Raises `DeploymentMismatch` and `CopyError`.
    """
    found = await read_deployed(client, keys, wanted, writes=True)  # nothing may be added to a copy
    partitions = (wanted or PARTITIONS_DEFAULT) if found is None else found.partitions
    if found is not None:
        keys = found.keys
    elif keys.clustered:
        keys = keys.deployed(partitions, spread_tags(keys.prefix, partitions))
    await restore(client, keys, partitions, incarnation, {})
    return await read_deployed(client, keys, wanted, writes=True) or Deployed(partitions, keys)


async def restore(
    client: Redis,
    keys: DeploymentKeys,
    partitions: int,
    incarnation: str,
    instruments: Mapping[str, Instrument],
) -> None:
    """Write what the deployment lacks, in one step, so that readers never see it without its instruments."""
    async with client.pipeline(transaction=True) as pipeline:
        pipeline.hsetnx(keys.meta, "partitions", str(partitions))
        if keys.tags and keys.tags != keys.deployed(partitions).tags:
            pipeline.hsetnx(keys.meta, "tags", tags_text(keys.tags))
        pipeline.hsetnx(keys.meta, "protocol", str(PROTOCOL))
        for symbol, instrument in instruments.items():
            pipeline.hsetnx(keys.instruments, symbol, to_json(instrument))
        pipeline.set(keys.incarnation, incarnation, nx=True)
        await run_pipeline(pipeline)


async def register_instruments(
    client: Redis, keys: DeploymentKeys, instruments: Mapping[str, Instrument], partitions: int = 0
) -> None:
    """Add or refresh `instruments`; the leaders decide when a change of a listing is applied.

    What a registered value says of its listing stays. `partitions`: of a deployment that was there before, 0
    for one that was not, or that Redis has lost. Where it was there, a symbol with a listing that is not
    registered was withdrawn, and comes back with the next listing, also if no leader has looked meanwhile.
    """
    last: dict[str, Listing] = {}
    if partitions:
        for number in sorted({partition_of(symbol, partitions) for symbol in instruments}):
            last |= await read_record(client, keys.partition(number))
    there = await read_hash(client, keys.instruments) if len(instruments) > REGISTERED_PER_TRIP else {}
    # Most are there already, if there are many: another look at each would take long.
    wanted = [each for each in instruments.items() if not _is_there(each[1], there.get(each[0].encode()))]
    registered = 0
    for start in range(0, len(wanted), REGISTERED_PER_TRIP):
        some = wanted[start : start + REGISTERED_PER_TRIP]
        async with client.pipeline(transaction=False) as pipeline:
            for symbol, instrument in some:
                value = to_json(_next(instrument, last.get(symbol)))
                pipeline.execute_command("HSETNX", keys.instruments, symbol, value)
                pipeline.execute_command("HGET", keys.instruments, symbol)
            replies = await run_pipeline(pipeline)
        for (symbol, instrument), is_new, raw in zip(some, replies[::2], replies[1::2], strict=True):
            registered += is_new
            if not is_new:
                await _refresh(client, keys, symbol, instrument, raw)
    if registered:
        about = {"count": registered, "first": wanted[0][0]}
        logger.info("instruments registered", extra=about)


async def _refresh(
    client: Redis, keys: DeploymentKeys, symbol: str, instrument: Instrument, raw: bytes | None
) -> None:
    """Register an instrument whose registered value, `raw`, is another one."""
    found = _parsed(instrument, raw)
    if found is None or found.terms != instrument.terms:
        listing = 0 if found is None else found.listing
        await execute(client, "HSET", keys.instruments, symbol, to_json(instrument._replace(listing=listing)))


def _is_there(ours: Instrument, raw: bytes | None) -> bool:
    """Whether a registered value says the same; nothing is said of one that is malformed."""
    try:
        return raw is not None and from_json(str(ours.symbol), raw).terms == ours.terms
    except InstrumentsError:
        return False


def _next(instrument: Instrument, last: Listing | None) -> Instrument:
    """The instrument with the listing after the last one, if there is one."""
    if last is None or last.number >= LISTING_WANTED_MAX:
        return instrument
    return instrument._replace(listing=last.number + 1)


def _parsed(ours: Instrument, raw: bytes | None) -> Instrument | None:
    """The registered definition, None if it is gone or malformed and may be replaced."""
    try:
        return None if raw is None else from_json(str(ours.symbol), raw)
    except InstrumentsError as error:
        logger.warning(
            "malformed instrument replaced", extra={"symbol": ours.symbol, "problem": error.problem}
        )
        return None
