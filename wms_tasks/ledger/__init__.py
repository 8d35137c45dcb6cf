"""Every expected slot ends as a row: sites.py (what is expected), passed.py and close.py (until when), why.py (why)."""
