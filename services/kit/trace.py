"""Trace context (W3C traceparent) from message to message.

A message carries the context of whoever caused it, through headers and outbox, so one order is
one trace across all services. Spans are recorded only where an OTLP endpoint is set; the ids
travel always.
"""

import random
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from opentelemetry import trace
from opentelemetry.sdk.resources import SERVICE_NAME, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

_current: ContextVar[str | None] = ContextVar("traceparent", default=None)
_propagator = TraceContextTextMapPropagator()


def new_traceparent() -> str:
    """A context for something that nobody caused: a sampled root."""
    return f"00-{random.getrandbits(128):032x}-{random.getrandbits(64):016x}-01"


def current() -> str | None:
    """The context of the request being served, if one is."""
    return _current.get()


@contextmanager
def use(traceparent: str | None) -> Iterator[str]:
    """Let everything sent inside belong to this trace; a new one when it is missing."""
    value = traceparent or new_traceparent()
    token = _current.set(value)
    try:
        yield value
    finally:
        _current.reset(token)


class Tracing:
    """Records one span per batch, linked to the trace of each message in it."""

    def __init__(self, service: str, endpoint: str | None) -> None:
        self._provider: TracerProvider | None = None
        if endpoint:
            # Here, because loading it is a tenth of a service's start, and most run without.
            from opentelemetry.exporter.otlp.proto.http.trace_exporter import (
                OTLPSpanExporter,
            )

            self._provider = TracerProvider(resource=Resource({SERVICE_NAME: service}))
            exporter = OTLPSpanExporter(f"{endpoint.rstrip('/')}/v1/traces")
            self._provider.add_span_processor(BatchSpanProcessor(exporter))

    @contextmanager
    def batch(self, name: str, traceparents: Iterable[str]) -> Iterator[None]:
        """Time a batch; costs nothing when no endpoint is set."""
        if self._provider is None:
            yield
            return
        contexts = (
            trace.get_current_span(_propagator.extract({"traceparent": value})).get_span_context()
            for value in dict.fromkeys(traceparents)
        )
        links = [trace.Link(context) for context in contexts if context.is_valid]
        with self._provider.get_tracer("orderflow").start_as_current_span(name, links=links):
            yield

    def shutdown(self) -> None:
        if self._provider is not None:
            self._provider.shutdown()
