"""A site's answer and what it means: http.py asks, judge.py decides. Nothing here knows Celery, Redis or Kafka."""
