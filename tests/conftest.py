"""Hypothesis for all tests: how long an example takes says nothing about it on a busy machine."""

import os

from hypothesis import HealthCheck, settings

settings.register_profile("developers", deadline=None, suppress_health_check=[HealthCheck.too_slow])
# The same examples in every run: what fails there is what a change did.
settings.register_profile("integration", parent=settings.get_profile("developers"), derandomize=True, database=None)
settings.load_profile("integration" if os.environ.get("CI") else "developers")
