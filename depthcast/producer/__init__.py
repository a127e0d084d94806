"""The producer: events of any program into a deployment's input log.

`depthcast.producer.producer` has the class that users import, `depthcast.producer.input_log` the appending
that it shares with `depthcast feed`.
"""

from depthcast.producer.producer import Producer, ProducerCounters, Receipt

__all__ = ["Producer", "ProducerCounters", "Receipt"]
