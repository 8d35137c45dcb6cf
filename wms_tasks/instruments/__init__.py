"""What metrics are made of: kinds.py (counter, gauge, histograms), board.py (all), children.py (forked pools)."""
