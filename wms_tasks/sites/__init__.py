"""What we watch: the record (record.py) and its file (file.py and what it needs). Nothing here does network I/O."""
