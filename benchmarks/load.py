"""The load: orders into Kafka, confirmations out, with librdkafka.

A client in C, in one thread, takes as little as it can of the machine that it measures: a client
in Python cost twice as much per order and was part of the result.
"""

import random
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from uuid import UUID

import confluent_kafka as librdkafka

from contracts.inventory import AdjustStock, PutProduct
from contracts.message import Message, new_message_id
from contracts.order import CartLine, PlaceOrder
from contracts.topics import INVENTORY_REPLIES, ORDER_EVENTS, Topic
from services.kit.messages import Outgoing
from services.kit.work import utc_now

_CONFIRMED = b'"status":"confirmed"'
_A_LOOK = 0.01  # seconds
_TO_START = 0.5  # seconds until a new consumer fetches, which are not part of what is measured
_LONGEST_ELECTION = 10.0  # seconds
_NOT_YET = {
    librdkafka.KafkaError._UNKNOWN_PARTITION,
    librdkafka.KafkaError.NOT_LEADER_FOR_PARTITION,
    librdkafka.KafkaError.LEADER_NOT_AVAILABLE,
}
_LONGEST_SILENCE = 60.0  # seconds without a confirmation: something is broken


def record(message: Message) -> Outgoing:
    return Outgoing.of(message, source="benchmark", time=utc_now().isoformat())


class Load:
    """Places orders for `lines` of the products each, and notes when each is confirmed.

    Topics are those of the contracts, with `prefix` before their names: a peer of the benchmarks
    has topics of its own.
    """

    def __init__(self, kafka: str, *, lines: int = 2, prefix: str = "") -> None:
        self._kafka = kafka
        self._lines = lines
        self._prefix = prefix
        self._sent: dict[bytes, float] = {}
        self._producer = librdkafka.Producer(
            {
                "bootstrap.servers": kafka,
                "client.id": "benchmark",
                "enable.idempotence": True,
                "partitioner": "murmur2",  # as every client of the system: one order, one partition
                "linger.ms": 1,
            }
        )

    def set_up_products(self, count: int) -> list[UUID]:
        """Products with stock for everybody; returns once inventory has them."""
        products = [new_message_id() for _ in range(count)]
        put = [
            PutProduct(
                product_id=product,
                name="Print",
                price=12000,
                currency="zar",
                requested_by="benchmark",
            )
            for product in products
        ]
        stocked = [
            AdjustStock(
                product_id=product, delta=100_000_000, reason="opening", requested_by="benchmark"
            )
            for product in products
        ]
        with self._reading(INVENTORY_REPLIES) as replies:
            self._send([*map(record, put), *map(record, stocked)])
            answered, until = 0, time.monotonic() + _LONGEST_SILENCE
            while answered < 2 * count:
                answered += len(_values(replies, _A_LOOK))
                if time.monotonic() > until:
                    raise TimeoutError(f"inventory answered {answered} of {2 * count} commands")
        return products

    def closed_loop(self, products: Sequence[UUID], count: int, window: int) -> float:
        """Orders per second with at most `window` of them unconfirmed."""
        orders = self._orders(products, count)
        with self._reading(ORDER_EVENTS) as events:
            began, at = time.perf_counter(), 0
            heard = began
            while at < count or self._sent:
                room = min(count - at, window - len(self._sent))
                self._send(orders[at : at + room])
                at += room
                heard = self._note(_values(events, _A_LOOK), heard)
            return count / (time.perf_counter() - began)

    def drain(self, products: Sequence[UUID], count: int, start: Callable[[], None]) -> float:
        """Seconds from the end of `start`, which starts who confirms, until all orders that had
        been waiting for it are confirmed."""
        orders = self._orders(products, count)
        with self._reading(ORDER_EVENTS) as events:
            self._send(orders)
            if self._producer.flush(_LONGEST_SILENCE):
                raise TimeoutError("Kafka did not take all orders")
            start()
            heard = began = time.perf_counter()
            while self._sent:
                heard = self._note(_values(events, _A_LOOK), heard)
            return time.perf_counter() - began

    def open_loop(self, products: Sequence[UUID], rate: float, seconds: float) -> list[float]:
        """Seconds from command to confirmation of each order, offered at a steady rate, sorted."""
        orders = self._orders(products, int(rate * seconds))
        taken: list[float] = []
        with self._reading(ORDER_EVENTS) as events:
            began, at = time.perf_counter(), 0
            heard = began
            while at < len(orders) or self._sent:
                pause = began + at / rate - time.perf_counter() if at < len(orders) else _A_LOOK
                if pause <= 0:
                    self._send(orders[at : at + 1])
                    at += 1
                    continue
                self._producer.poll(0)
                received = events.poll(pause)
                if received is not None:
                    heard = self._note([_checked(received)], heard, taken)
        return sorted(taken)

    def _orders(self, products: Sequence[UUID], count: int) -> list[Outgoing]:
        made = []
        for _ in range(count):
            picked = random.sample(products, k=min(self._lines, len(products)))
            lines = tuple(CartLine(product_id=product, quantity=1) for product in picked)
            order = PlaceOrder(order_id=new_message_id(), customer_id="bench", lines=lines)
            made.append(record(order))
        return made

    def _send(self, orders: Sequence[Outgoing]) -> None:
        now = time.perf_counter()
        for order in orders:
            key = order.key.encode()
            if order.type == PlaceOrder.wire_type:
                self._sent[key] = now
            while True:
                try:
                    self._producer.produce(
                        self._prefix + order.topic,
                        order.payload.encode(),
                        key,
                        headers=dict(order.kafka_headers()),
                        on_delivery=_delivered,
                    )
                    break
                except BufferError:  # librdkafka's queue is full
                    self._producer.poll(_A_LOOK)
        self._producer.poll(0)

    def _note(
        self, received: Sequence[librdkafka.Message], heard: float, taken: list[float] | None = None
    ) -> float:
        """Take confirmations off the list; returns when the last one came."""
        now = time.perf_counter()
        for each in received:
            value, key = each.value(), each.key()
            if value and key and _CONFIRMED in value and (sent := self._sent.pop(key, None)):
                heard = now
                if taken is not None:
                    taken.append(now - sent)
        if self._sent and now - heard > _LONGEST_SILENCE:
            raise TimeoutError(f"{len(self._sent)} orders are still not confirmed")
        return heard

    @contextmanager
    def _reading(self, topic: Topic) -> Iterator[librdkafka.Consumer]:
        """A consumer of what comes from now on."""
        consumer = librdkafka.Consumer(
            {
                "bootstrap.servers": self._kafka,
                "group.id": "benchmark",  # librdkafka asks for one; nothing is committed
                "enable.auto.commit": False,
                "fetch.wait.max.ms": 100,
            }
        )
        try:
            partitions = [
                librdkafka.TopicPartition(self._prefix + topic.name, number)
                for number in range(topic.partitions)
            ]
            for partition in partitions:
                partition.offset = end_of(consumer, partition)
            consumer.assign(partitions)
            consumer.poll(_TO_START)  # nothing comes before something is sent
            yield consumer
        finally:
            consumer.close()


def end_of(consumer: librdkafka.Consumer, place: librdkafka.TopicPartition) -> int:
    """The offset that the next record of a partition gets."""
    until = time.monotonic() + _LONGEST_ELECTION
    while True:
        try:
            _, end = consumer.get_watermark_offsets(place, timeout=10)
            return int(end)
        except librdkafka.KafkaException as error:
            # A partition that was made a moment ago may not have its leader yet.
            if error.args[0].code() not in _NOT_YET or time.monotonic() > until:
                raise
        time.sleep(0.1)


def _values(consumer: librdkafka.Consumer, within: float) -> list[librdkafka.Message]:
    return [_checked(each) for each in consumer.consume(5000, within)]


def _checked(received: librdkafka.Message) -> librdkafka.Message:
    if (error := received.error()) is not None:
        raise librdkafka.KafkaException(error)
    return received


def _delivered(error: librdkafka.KafkaError | None, _: librdkafka.Message) -> None:
    if error is not None:
        raise librdkafka.KafkaException(error)
