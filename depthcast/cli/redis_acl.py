"""`depthcast redis-acl`: an access list for Redis by which each process may do only what it does."""

import os
import secrets
from pathlib import Path
from typing import Final

import click

from depthcast.shared.errors import SettingsError
from depthcast.shared.redis_roles import ON_REQUEST, ROLES, acl_administrator, acl_user
from depthcast.shared.runtime.environment import read_environment
from depthcast.shared.settings import Settings, variable

ADMINISTRATOR: Final = "default"
PASSWORD_BYTES: Final = 32

HELP: Final = f"""\
Print an ACL file for Redis with a user for each ROLE, by default for all but relay.

A user may send the commands of its role on the keys of its role, and nothing else. It is called after the
key prefix and the role, such as depthcast-gateway. Its password is in the folder that --passwords names, in a
file with the name of the role; it is made if it is not there. What is printed has hashes of passwords only.
The user "default", who may do everything, has a password too.

\b
Roles:
{chr(10).join(f"  {name:12} {role.meaning}" for name, role in ROLES.items())}

\b
Example:
  depthcast redis-acl --passwords secrets > users.acl
  redis-server --aclfile users.acl
  DEPTHCAST_REDIS_USERNAME=depthcast-gateway DEPTHCAST_REDIS_PASSWORD_FILE=secrets/gateway depthcast gateway
"""


@click.command("redis-acl", help=HELP)
@click.argument("roles", metavar="[ROLE]...", nargs=-1, type=click.Choice(list(ROLES)))
@click.option(
    "--passwords",
    required=True,
    metavar="FOLDER",
    type=click.Path(file_okay=False, path_type=Path),
    help="Folder of the passwords.",
)
@click.option("--prefix", metavar="TEXT", help=f"Key prefix of the deployment. [{variable('prefix')}]")
def redis_acl(roles: tuple[str, ...], passwords: Path, prefix: str | None) -> None:
    """See `HELP`."""
    settings = Settings.load(read_environment(), {"prefix": prefix})
    click.echo(acl_administrator(password_in(passwords, ADMINISTRATOR)))
    for role in dict.fromkeys(roles or [role for role in ROLES if role not in ON_REQUEST]):
        click.echo(acl_user(role, settings.prefix, password_in(passwords, role)))


def password_in(folder: Path, role: str) -> str:
    """Return the password in a role's file, which is made if it is not there; raises `SettingsError`."""
    path = folder / role
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        try:
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        except FileExistsError:
            password = path.read_text(encoding="utf-8").rstrip("\r\n")
        else:
            password = secrets.token_hex(PASSWORD_BYTES)
            with os.fdopen(descriptor, "w", encoding="utf-8") as file:
                file.write(f"{password}\n")
    except OSError as error:
        raise SettingsError("--passwords", str(path), f"cannot be used: {error.strerror}") from None
    except ValueError:
        raise SettingsError("--passwords", str(path), "must be a text file in UTF-8") from None
    if not password:
        raise SettingsError("--passwords", str(path), "is an empty file; remove it to have a password made")
    return password
