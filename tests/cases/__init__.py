"""What can come of a probe, as one table (table.py) against real servers (world.py). Run by test_cases.py."""
