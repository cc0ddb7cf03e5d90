"""What was said on the topics so far."""

from aiokafka import AIOKafkaConsumer, ConsumerRecord

from contracts.topics import Topic
from deploy.local.stack import LocalStack


async def records(stack: LocalStack, *topics: Topic) -> "list[ConsumerRecord[bytes, bytes]]":
    """Everything up to now, in the order of each partition."""
    consumer = AIOKafkaConsumer(
        *(topic.name for topic in topics),
        bootstrap_servers=stack.kafka,
        auto_offset_reset="earliest",
    )
    await consumer.start()
    found = []
    try:
        ends = await consumer.end_offsets(consumer.assignment())
        while any([await consumer.position(place) < end for place, end in ends.items()]):
            for batch in (await consumer.getmany(timeout_ms=200)).values():
                found += batch
    finally:
        await consumer.stop()
    return found
