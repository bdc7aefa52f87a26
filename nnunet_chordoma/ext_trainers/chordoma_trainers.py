"""nnU-Net's trainer look-up imports this file alone; the classes live in the installed package."""

from nnunet_chordoma.training.trainers import (
    ChordomaTrainerCE,
    ChordomaTrainerDice,
    ChordomaTrainerResCE,
    ChordomaTrainerResDice,
    ChordomaTrainerResEncDiceCE,
    ChordomaTrainerResEncWCE,
    ChordomaTrainerResWCE,
    ChordomaTrainerWCE,
)

__all__ = [
    "ChordomaTrainerCE",
    "ChordomaTrainerDice",
    "ChordomaTrainerResCE",
    "ChordomaTrainerResDice",
    "ChordomaTrainerResEncDiceCE",
    "ChordomaTrainerResEncWCE",
    "ChordomaTrainerResWCE",
    "ChordomaTrainerWCE",
]
