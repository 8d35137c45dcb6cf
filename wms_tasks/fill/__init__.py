"""Filling a slot, from its order to its result: decide.py (pure), work.py (asks, probes), carry.py (on Celery)."""
