"""Which commands a role may send to Redis, on any key."""

from depthcast.shared.redis_roles import ROLES


def commands_of(role: str) -> set[str]:
    """Return all commands of a role, with and without keys."""
    granted = ROLES[role]
    return set(" ".join((granted.alone, *(selector.commands for selector in granted.selectors))).split())
