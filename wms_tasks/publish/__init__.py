"""
A result into Kafka, confirmed: publisher.py. Its parts are the client (producer.py) and what is awaited (delivery.py).
"""

from wms_tasks.publish.producer import DELIVERY_TIMEOUT_SECONDS, producer_config
from wms_tasks.publish.publisher import Publisher, hurry, publisher

__all__ = ["DELIVERY_TIMEOUT_SECONDS", "Publisher", "hurry", "producer_config", "publisher"]
