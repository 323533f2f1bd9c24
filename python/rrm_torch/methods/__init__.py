"""Methods of the literature: small-loss selection as settings of `RRM`, and systems with RRM as an option."""

from rrm_core._public import publish as _publish

from .cc import CC
from .centrality_network import CentralityNetwork
from .dividemix import DivideMix
from .elr_plus import ELRPlus
from .frozen_features import extract_features, load_features
from .learning_to_reweight import LearningToReweight
from .linear_probe import LinearProbe, fit_linear_probe
from .meta_weight_net import MetaWeightNet
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
    "LearningToReweight",
    "LinearProbe",
    "MetaWeightNet",
    "ProMix",
    "RegMixUp",
    "TrainingSet",
    "TwoHeadNetwork",
    "co_teaching",
    "extract_features",
    "fit_linear_probe",
    "load_features",
    "print_epoch",
    "self_paced",
    "trimmed",
]

_publish(__name__, CC, CentralityNetwork, DivideMix, ELRPlus, LearningToReweight, LinearProbe)
_publish(__name__, MetaWeightNet, ProMix, RegMixUp, TrainingSet, TwoHeadNetwork)
