"""
``wms check``: options.py and target.py say what is asked, run.py asks it, picture.py and report.py show what came.
"""

from wms_tasks.commands.check.command import check

__all__ = ["check"]
