"""All targets, by name."""

from typing import Final

from tests.fuzz import configuration, feeds, gateway_front, gateway_requests, hostile_gateway, input_log, wire
from tests.fuzz.target import Target

TARGETS: Final[dict[str, Target]] = {
    target.name: target
    for module in (wire, input_log, gateway_front, gateway_requests, hostile_gateway, feeds, configuration)
    for target in module.TARGETS
}
