"""What a trainer refuses to start with, said in one line."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any, NoReturn

import numpy as np
import torch.distributed as dist
from nnunetv2.utilities.plans_handling.plans_handler import PlansManager

from nnunet_chordoma.errors import ChordomaError
from nnunet_chordoma.layout import CONFIGURATION, DEMO_CONFIGURATION, PLANS
from nnunet_chordoma.training.overrides import overrides_of, with_overrides
from nnunet_chordoma.training.plans import PATCH_SIZE, SPACING_MM
from nnunet_chordoma.training.settings import TrainingSettings

_RANK_0_SPEAKS_S = 10.0


class PlansRefusedError(ChordomaError, SystemExit):
    """Plans or splits that a trainer does not accept.

    It is also a SystemExit, so nnUNetv2_train ends with this one line and status 1 instead of a traceback.
    """

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.code = f"error: {message}"


def refuse(message: str) -> NoReturn:
    """Raise PlansRefusedError; with several GPUs rank 0 alone says why, in the same one line."""
    error = PlansRefusedError(message)
    if not (dist.is_available() and dist.is_initialized()):
        raise error
    if dist.get_rank():
        # nnU-Net ends all ranks as soon as one has ended, and rank 0 must have spoken by then.
        time.sleep(_RANK_0_SPEAKS_S)
        raise SystemExit(1)
    # torch shows the traceback of every Exception of a rank; a plain SystemExit prints its line and no more.
    raise SystemExit(error.code)


def plans_to_train(
    plans: Mapping[str, Any], configuration: str, environment: Mapping[str, str]
) -> tuple[dict[str, Any], TrainingSettings]:
    """The plans with the settings that CHORDOMA_SETTINGS names, and the settings that result; checked.

    Raises PlansRefusedError, whose line names the fix.
    """
    try:
        overrides = overrides_of(environment)
        if overrides and configuration in plans["configurations"]:
            plans = with_overrides(plans, configuration, overrides)
    except ChordomaError as error:
        refuse(str(error))
    return dict(plans), check_plans(plans, configuration)


def check_plans(plans: Mapping[str, Any], configuration: str) -> TrainingSettings:
    """Settings of a configuration; refuses other spacings than 2 mm and patches that nobody has asked for.

    Patches are 128^3, or what the setting `patch_size` says; those of our small configuration are its own.
    Raises PlansRefusedError, whose line names the fix.
    """
    fix = f"run chordoma-plan and train {CONFIGURATION} with -p {PLANS}"
    if configuration not in plans["configurations"]:
        refuse(f"the plans have no configuration '{configuration}'; {fix}")
    found = PlansManager(plans).get_configuration(configuration)
    spacing, patch = [float(v) for v in found.spacing], [int(v) for v in found.patch_size]
    if not np.allclose(spacing, SPACING_MM, rtol=0, atol=1e-4):
        refuse(
            f"configuration '{configuration}' has a spacing of {spacing} mm, these trainers need 2 x 2 x 2 mm; {fix}"
        )
    try:
        settings, unreadable = TrainingSettings.from_plans(found.configuration), None
    except ChordomaError as error:
        settings, unreadable = TrainingSettings(), error
    wanted = settings.patch_size or (None if configuration == DEMO_CONFIGURATION else PATCH_SIZE)
    if wanted is not None and patch != list(wanted):
        refuse(
            f"configuration '{configuration}' has patches of {patch} voxels, these trainers need "
            f"{' x '.join(map(str, wanted))} (unless the setting patch_size says otherwise); {fix}"
        )
    if unreadable is not None:
        refuse(f"configuration '{configuration}': {unreadable}")
    try:
        settings.check_patch(patch)
    except ChordomaError as error:
        refuse(f"configuration '{configuration}': {error}")
    if settings.patch_stride and any(s > p for s, p in zip(settings.patch_stride, patch, strict=True)):
        refuse(
            f"configuration '{configuration}': patches of {patch} voxels that move by {list(settings.patch_stride)} "
            "leave gaps; give a smaller patch_stride or larger patches"
        )
    return settings
