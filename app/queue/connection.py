"""The arq client of the queue: our bounded pool and our serializer."""

from arq.connections import ArqRedis

from app.core.orders import Lane
from app.infra.redis import DEFAULT_LIMITS, RedisLimits, build_pool
from app.queue.codec import deserialize, serialize
from app.queue.lanes import lane_keys


def build_queue_redis(url: str, limits: RedisLimits = DEFAULT_LIMITS) -> ArqRedis:
    """Return a client that owns its pool and writes jobs that an `OrderWorker` reads. Does not connect."""
    client = ArqRedis(
        build_pool(url, limits),
        job_serializer=serialize,
        job_deserializer=deserialize,
        default_queue_name=lane_keys(Lane.STANDARD).ready,
    )
    client.auto_close_connection_pool = True
    return client
