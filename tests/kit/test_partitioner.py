"""A key goes where Kafka's other clients would put it."""

import aiokafka.partitioner
from hypothesis import given
from hypothesis import strategies as st

from services.kit.partitioner import murmur2


@given(st.binary(max_size=80))
def test_the_hash_is_that_of_kafkas_clients(key: bytes) -> None:
    assert murmur2(key) == aiokafka.partitioner.murmur2(key) & 0xFFFFFFFF


def test_known_keys() -> None:
    """From Kafka's own tests, UtilsTest.testMurmur2, as signed numbers."""
    known = {b"21": -973932308, b"foobar": -790332482, b"a-little-bit-long-string": -985981536}
    assert {key: murmur2(key) for key in known} == {key: n % 2**32 for key, n in known.items()}
