"""What we may ask of strangers' servers, and when: a host's next turn (rate.py), its robots.txt (robots.py)."""
