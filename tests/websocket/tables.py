"""Works through a table of cases, several at a time, and lists those that went otherwise than expected."""

import asyncio
from collections.abc import Awaitable, Callable, Container, Mapping
from typing import Final, TypeVar

AT_A_TIME: Final = 16
Case = TypeVar("Case")


async def differences(
    expected: Mapping[Case, Container[str]], outcome_of: Callable[[Case], Awaitable[str]]
) -> dict[Case, str]:
    """The outcomes that are not among the expected ones."""
    gate = asyncio.Semaphore(AT_A_TIME)

    async def one(case: Case) -> tuple[Case, str]:
        async with gate:
            return case, await outcome_of(case)

    outcomes = await asyncio.gather(*map(one, expected))
    return {case: outcome for case, outcome in outcomes if outcome not in expected[case]}
