"""Every error Depthcast raises on purpose.

    DepthcastError
    ├── SettingsError          a setting, option or settings file is wrong (exit status 2)
    ├── InstrumentsError       an instruments table is wrong or contradicts the deployment (exit status 2)
    ├── DeploymentMismatch     a setting differs from what the deployment was created with (exit status 2)
    ├── CopyError              a copy of another deployment is written by its relay only (exit status 2)
    ├── CodecError             bytes that do not follow the wire contract
    ├── PositionError          text that is not a stream position
    ├── RedisUnavailable       Redis cannot be reached, or refuses to work for now
    │   └── RedisRefused       Redis answered a command with an error reply
    │       └── WrongKey       a key holds a value of another type than ours
    ├── Fenced                 another leader, a lost tail or a deleted key ended this leadership
    ├── RecoveryError          the state in Redis contradicts itself; nothing is guessed
    ├── EmbeddedServerError    no server binary, or it did not start
    ├── FeedError              a recorded feed file cannot be read
    ├── InvalidEvent           an event that a producer was given cannot be sent
    ├── InputLagging           input of a partition waits for longer than a producer allows
    ├── MissingLibrary         an optional library is not installed
    └── ClientError            the WebSocket client or the stream consumer cannot go on

Each error has the values in its text as attributes, so callers need not parse text. A library's errors are
mapped to these where the library is called.
"""

from typing import Self


class DepthcastError(Exception):
    """Base of all errors raised on purpose."""


class SettingsError(DepthcastError):
    """A setting is unknown, malformed or out of bounds."""

    def __init__(self, name: str, value: object, remedy: str) -> None:
        self.name = name
        self.value = value
        self.remedy = remedy
        super().__init__(f"{name}: {value!r} {remedy}")

    def about(self, name: str) -> Self:
        """Return this error about the same setting by another name."""
        return type(self)(name, self.value, self.remedy)


class InstrumentsError(DepthcastError):
    """An instrument definition is malformed, or differs from the registered one where it may not."""

    def __init__(self, symbol: str, problem: str) -> None:
        self.symbol = symbol
        self.problem = problem
        super().__init__(f"instrument {symbol!r}: {problem}" if symbol else f"instruments: {problem}")


class DeploymentMismatch(DepthcastError):
    """An explicitly set value differs from the one the deployment was created with."""

    def __init__(self, name: str, ours: object, deployed: object) -> None:
        self.name = name
        self.ours = ours
        self.deployed = deployed
        super().__init__(
            f"{name} is set to {ours} here, but the deployment was created with {deployed}; "
            f"remove the setting or use {deployed}"
        )

    def about(self, name: str) -> Self:
        """Return this error about the same setting by another name."""
        return type(self)(name, self.ours, self.deployed)


class CopyError(DepthcastError):
    """Who wants to write belongs to another deployment: only a relay writes a copy, and a relay only its own.

    `prefix`: of the deployment that is not written.
    """

    def __init__(self, prefix: str, problem: str) -> None:
        self.prefix = prefix
        self.problem = problem
        super().__init__(f"the deployment with the prefix {prefix!r} {problem}")


class CodecError(DepthcastError):
    """Bytes or values that do not follow the contract."""

    def __init__(self, what: str, problem: str) -> None:
        self.what = what
        self.problem = problem
        super().__init__(f"{what}: {problem}")


class PositionError(DepthcastError):
    """Text that is not `<integer>-<integer>`."""

    def __init__(self, text: object) -> None:
        self.text = text
        super().__init__(f"{text!r} is not a stream position such as 1767225600000-0")


class RedisUnavailable(DepthcastError):
    """Redis cannot be reached, or refuses to work for now; another attempt may succeed."""

    def __init__(self, problem: str) -> None:
        self.problem = problem
        super().__init__(f"Redis is unavailable: {problem}")


class WatchedKeyChanged(RedisUnavailable):
    """A transaction was not executed, because a key that its connection watches was written since."""


class RedisRefused(RedisUnavailable):
    """Redis answered a command with an error reply; another attempt may succeed.

    `code`: the reply's first word, such as NOPERM. `malformed`: the reply says that the command itself is
    wrong, so that the mistake is in Depthcast or the server is not one that it knows.
    """

    def __init__(self, problem: str, code: str, *, malformed: bool = False) -> None:
        self.code = code
        self.malformed = malformed
        super().__init__(problem)


class WrongKey(RedisRefused):
    """A key of ours holds a value that nothing of ours wrote; it stays so until somebody deletes it."""

    def __init__(self, key: str, problem: str) -> None:
        self.key = key
        super().__init__(f"{problem}: find out what wrote it, and delete it (DEL {key})", "WRONGTYPE")


class Fenced(DepthcastError):
    """A compare-and-append was refused: the stream's last ID is not the one this leader wrote."""

    def __init__(self, partition: int, expected: object, found: object) -> None:
        self.partition = partition
        self.expected = expected
        self.found = found
        super().__init__(f"partition {partition}: expected the last position {expected}, found {found}")


class EngineBroken(DepthcastError):
    """A change of a partition's books failed halfway, so they must not be published."""

    def __init__(self, partition: int) -> None:
        self.partition = partition
        super().__init__(f"partition {partition}: a change of the books failed halfway or is in progress")


class RecoveryError(DepthcastError):
    """Snapshot, deltas, checkpoint and input log contradict each other."""

    def __init__(self, partition: int, problem: str) -> None:
        self.partition = partition
        self.problem = problem
        super().__init__(f"partition {partition} cannot be recovered: {problem}")


class EmbeddedServerError(DepthcastError):
    """The embedded server's binary was not found, or the server did not start."""


class FeedError(DepthcastError):
    """A recorded feed file is unreadable, of an unknown format or malformed at a line."""

    def __init__(self, path: object, line: int, problem: str) -> None:
        self.path = path
        self.line = line
        self.problem = problem
        where = f"{path}, line {line}" if line else f"{path}"
        super().__init__(f"{where}: {problem}")


class InvalidEvent(DepthcastError):
    """An event given to a producer cannot be sent; nothing of its array was.

    `place`: index in the array, None if it is not about a single event. `problem` names the value, and
    `remedy` says what to do.
    """

    def __init__(self, symbol: str, place: int | None, problem: str, remedy: str) -> None:
        self.symbol = symbol
        self.place = place
        self.problem = problem
        self.remedy = remedy
        where = symbol if place is None else f"{symbol}, event {place}"
        super().__init__(f"{where}: {problem}; {remedy}")


class InputLagging(DepthcastError):
    """Input of a partition waits for longer than a producer allows."""

    def __init__(self, partition: int, lag_ms: int, lag_max_ms: int) -> None:
        self.partition = partition
        self.lag_ms = lag_ms
        self.lag_max_ms = lag_max_ms
        super().__init__(
            f"partition {partition}: input has waited for {lag_ms} ms, and lag_max_ms is {lag_max_ms}; "
            "start an ingestor, or send less"
        )


class MissingLibrary(DepthcastError):
    """An optional library is not installed; `remedy` says how to install it."""

    def __init__(self, library: str, remedy: str) -> None:
        self.library = library
        self.remedy = remedy
        super().__init__(f"this needs {library}, which is not installed; {remedy}")


class ClientError(DepthcastError):
    """The gateway refused a request, or the client or consumer cannot go on.

    `code` says why; `depthcast.shared.error_codes` lists all codes. `symbol` is set if the error concerns one
    symbol.
    """

    def __init__(self, code: str, message: str, symbol: str | None = None) -> None:
        self.code = code
        self.symbol = symbol
        super().__init__(f"{code}: {message}" + (f" ({symbol})" if symbol else ""))
