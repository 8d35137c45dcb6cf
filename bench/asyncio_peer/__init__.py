"""
The system that the first design text asked for, as a peer: aiohttp, AIOKafkaProducer, AIOKafkaConsumer, asyncpg.

Two programs, run by a Python of their own, which has those packages (`make bench-peers`); nothing of ours is imported.
They do what that text says, and well: batches, one COPY each, offsets after the commit. Nothing is polite, and what a
crash leaves is lost or doubled.
"""
