"""
Connection facts and certificates from Aiven itself, before a role starts: the settings that Terraform's outputs give.

`obtain` is the door. facts.py decides, api.py asks, certificates.py writes. Nobody is asked, and aiven-client (the
extra ``aiven``) not loaded, unless WMS_AIVEN_PROJECT is set.
"""

from __future__ import annotations

from wms_tasks.aiven.obtain import obtain

__all__ = ["obtain"]
