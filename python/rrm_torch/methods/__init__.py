"""Methods of the literature: small-loss selection as settings of `RRM`, and systems with RRM as an option."""

from .cc import CC
from .centrality_network import CentralityNetwork
from .dividemix import DivideMix
from .elr_plus import ELRPlus
from .method import print_epoch
from .promix import ProMix
from .promix_network import TwoHeadNetwork
from .regmixup import RegMixUp
from .small_loss import co_teaching, self_paced, trimmed
from .training_set import TrainingSet

__all__ = [
    "CC",
    "CentralityNetwork",
    "DivideMix",
    "ELRPlus",
    "ProMix",
    "RegMixUp",
    "TrainingSet",
    "TwoHeadNetwork",
    "co_teaching",
    "print_epoch",
    "self_paced",
    "trimmed",
]
