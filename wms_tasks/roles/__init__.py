"""
The processes: what a worker, beat and `wms run` start and stop beside Celery's own parts.

steps.py (bootsteps) · thread.py (a role's thread) · stop.py (how a process ends) · beat.py · together.py (`wms run`).
"""
