"""From other monitors' files to a sites file. Pure but for what commands/sites_import.py reads; knows no service."""
