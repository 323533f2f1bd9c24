from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

import rrm_core
from rrm_core._learnt_estimate import NOTHING_LEARNT
from rrm_torch import RRM, BatchRRM, Diagnosis, diagnose
from support import estimate_jobs
from support.rank_jobs import on_ranks

N = 600
RANDOM = np.diag([40] * 5) + 6
PAIRED = np.diag([50] * 5) + np.roll(np.diag([40] * 5), 1, axis=1)


def estimate_of(table=RANDOM, **changes):
    """Return an estimate with a confident joint."""
    table = np.asarray(table)
    given, predicted = table.nonzero()
    values = {
        "contamination": 0.3,
        "interval": (0.25, 0.35),
        "n": N,
        "n_held_out": 90,
        "basis": "the surest half of the predictions",
        "by_group": None,
        "pairs": np.stack([given, predicted, table[given, predicted]], axis=1),
        "epoch": 1,
    }
    return rrm_core.ContaminationEstimate(**values | changes)


def losses_of(epoch, shift, n_high=180, low=0.1):
    """Return losses of which those of `n_high` samples are high; each epoch moves these by `shift` samples."""
    losses = low + torch.arange(N) / 1e4
    high = (torch.arange(n_high) + epoch * shift) % N
    losses[high] += 5 + low
    losses[-1] = 0.0
    return losses


def reweighted(n_reweights=6, shift=2, low=0.1, warmup=1, **settings):
    """Return an RRM after some reweights, each of which prunes other samples by `shift`."""
    rrm = RRM(N, warmup=warmup, **{"contamination": 0.3, **settings})
    for epoch in range(warmup - 1 + n_reweights):
        rrm.step(losses_of(epoch, shift, low=low))
    return rrm


def with_estimate(estimate, n_reweights=6, shift=2, low=0.1, **settings):
    """Return an RRM whose warm-up ended with an estimate after its first epoch."""
    rrm = RRM(N, **{"contamination": "auto", **settings})
    rrm._state = replace(rrm._state, estimate=estimate, predictions=None)
    for epoch in range(n_reweights):
        rrm.step(losses_of(epoch, shift, low=low))
    return rrm


def line(diagnosis, title):
    (found,) = (text for text in str(diagnosis).splitlines() if text.startswith(f"{title}: "))
    return found


def titles(diagnosis):
    return [text.partition(":")[0] for text in diagnosis.findings]


# Before the first reweight.


def test_a_warmup_of_known_length_says_what_is_missing():
    rrm = RRM(N, contamination=0.2, warmup=10)
    for _ in range(3):
        rrm.step(torch.rand(N))
    diagnosis = diagnose(rrm)
    assert str(diagnosis) == (
        "No reweight yet: 3 epochs have ended, and the first reweight follows epoch 10 (warmup=10).\n"
        "What to do next:\n"
        "- Train more than 10 epochs, or set warmup to a third of the planned ones at most."
    )
    assert diagnosis == Diagnosis(N, 0, findings=diagnosis.findings, advice=diagnosis.advice)


def test_an_automatic_warmup_says_when_it_ends():
    text = str(diagnose(RRM(N, contamination="auto", epochs=60)))
    assert text.startswith("No reweight yet: 0 epochs have ended. The warm-up ends once held-out samples")
    assert "it ends after a third of the 60 planned epochs at the latest." in text
    assert text.endswith("- Train more epochs, or set warmup to a number of them.")
    assert "how many epochs are planned is not known (epochs=)" in str(diagnose(RRM(N, contamination="auto")))


def test_steps_are_called_steps():
    text = str(diagnose(RRM(N, contamination=0.2, warmup=500, unit="step")))
    assert "0 steps have ended, and the first reweight follows step 500 (warmup=500)" in text


def test_batches_are_weighted_after_the_warmup():
    rrm = BatchRRM(4, contamination=0.25, warmup=2)
    rrm.step()
    assert str(diagnose(rrm)).startswith("No reweight yet: 1 epoch has ended, and batches are weighted after epoch 2 (")


# Without an estimate.


def test_a_number_gives_what_was_pruned_and_when():
    diagnosis = diagnose(reweighted())
    assert titles(diagnosis) == ["Share", "Warm-up", "Limits"]
    assert line(diagnosis, "Limits").startswith("Limits: some of the pruned samples are hard ones with correct labels;")
    assert line(diagnosis, "Share") == (
        "Share: not estimated. The last reweight pruned 180 of 600 samples (30.0 %), which follows from the "
        "contamination."
    )
    assert (diagnosis.share, diagnosis.interval, diagnosis.share_pruned) == (None, None, 0.3)
    assert (diagnosis.n, diagnosis.n_reweights, diagnosis.kind, diagnosis.pairs) == (N, 6, "unknown", ())
    assert diagnosis.warmup == "in time"
    assert diagnosis.overlap == pytest.approx(178 / 182)
    assert line(diagnosis, "Warm-up").endswith(
        "no sign that this was too late (mean overlap of the first pruned sets: 0.98). Without an estimate, too early "
        "can't be seen."
    )
    assert diagnosis.advice[0].startswith("Look at the most suspicious labels: rrm.issues()")
    assert diagnosis.advice[1].startswith("Let RRM(..., contamination='auto') estimate the share")


@pytest.mark.parametrize("as_tensor", [True, False])
def test_labels_show_the_classes_that_were_pruned(as_tensor):
    rrm = reweighted(shift=0)
    labels = np.where(np.arange(N) < 100, 1, np.arange(N) % 2 * 2)
    labels[-10:] = -1  # without a label
    diagnosis = diagnose(rrm, ["cat", "dog", "cow"], torch.from_numpy(labels) if as_tensor else labels)
    assert line(diagnosis, "Classes") == "Classes: highest pruned shares: 'dog' 100.0 % (100 of 100)."
    assert [(entry.name, entry.n, entry.n_suspicious) for entry in diagnosis.classes] == [("dog", 100, 100)]
    even = diagnose(rrm, labels=np.arange(N) % 3)
    assert line(even, "Classes") == "Classes: no class has clearly more pruned labels than the others."
    assert even.classes == ()


def test_gamma_is_named_as_the_cause():
    diagnosis = diagnose(reweighted(contamination=None, gamma=1.0))
    assert line(diagnosis, "Share").endswith("which follows from gamma.")
    assert diagnosis.warmup == "in time"


def test_a_contamination_given_to_step_is_named_as_the_cause():
    rrm = RRM(N, warmup=1)
    rrm.step(torch.rand(N), contamination=0.1)
    assert line(diagnose(rrm), "Share").endswith("which follows from the contamination given to step().")


def test_gamma_that_prunes_far_more_at_first_shows_a_warmup_that_was_too_short():
    rrm = RRM(N, gamma=1.0, warmup=1)
    for n_high in (400, 300, 180):
        rrm.step(losses_of(0, 0, n_high))
    diagnosis = diagnose(rrm)
    assert diagnosis.warmup == "early"
    assert line(diagnosis, "Warm-up") == (
        "Warm-up: it ended after epoch 1, perhaps too early: the first reweight pruned 400 samples and the last 180."
    )
    assert "Train with a longer warm-up than warmup=1, and with more epochs." in diagnosis.advice


def test_nothing_pruned():
    diagnosis = diagnose(reweighted(contamination=0.0))
    assert diagnosis.share_pruned == 0
    assert diagnosis.advice[0] == "Nothing is flagged. If no labels are expected to be wrong, train without RRM."


def test_few_samples_are_not_told_to_be_estimated():
    rrm = RRM(4, contamination=0.25, warmup=1)
    rrm.step(torch.rand(4))
    assert len(diagnose(rrm).advice) == 1


# Whether the warm-up ended in time.


def test_changing_sets_of_low_losses_may_show_a_late_warmup():
    diagnosis = diagnose(reweighted(warmup=9, shift=40))
    assert diagnosis.warmup == "late"
    assert diagnosis.overlap == pytest.approx(140 / 220, abs=0.01)
    assert (
        "it ended after epoch 9, perhaps too late: the first reweights pruned different samples (mean overlap"
        in str(diagnosis)
    )
    assert "such as warmup=3, and compare the accuracy." in str(diagnosis)
    # No shorter warm-up.
    assert "shorter" not in str(diagnose(reweighted(warmup=1, shift=40)))


def test_changing_sets_of_high_losses_come_from_augmentation():
    diagnosis = diagnose(reweighted(shift=40, low=2.0))
    assert diagnosis.warmup == "in time"
    assert "(mean overlap of the first pruned sets: 0.64, as low as with augmentation, hard samples" in str(diagnosis)


def test_first_ten_reweights_count():
    rrm = reweighted(n_reweights=10, shift=0)
    for epoch in range(30):
        rrm.step(losses_of(epoch, 60))
    assert diagnose(rrm).overlap == 1


def test_few_reweights_do_not_show_whether_the_warmup_was_in_time():
    diagnosis = diagnose(reweighted(n_reweights=3, shift=60))
    assert (diagnosis.warmup, diagnosis.overlap) == ("unknown", None)
    assert line(diagnosis, "Warm-up") == (
        "Warm-up: it ended after epoch 1; the reweights don't show whether this was in time."
    )


def test_overlaps_of_other_populations_and_sizes_do_not_count():
    rrm = RRM(N, contamination=0.3, warmup=1)
    for epoch in range(6):
        mask = torch.arange(N) >= epoch * 10
        rrm.step(torch.rand(int(mask.sum())), among=mask)
    assert diagnose(rrm).overlap is None
    growing = RRM(N, contamination=lambda epoch: 0.1 * 1.2**epoch, warmup=1)
    for epoch in range(6):
        growing.step(losses_of(epoch, 60))
    assert diagnose(growing).overlap is None


def test_batches_have_thresholds_of_their_own():
    rrm = BatchRRM(N, contamination=0.3, warmup=2)
    for epoch in range(8):
        for index in torch.randperm(N).split(50):
            rrm.weighted_mean(losses_of(epoch, 0)[index], index)
        rrm.step()
    diagnosis = diagnose(rrm, labels=np.arange(N) // 300)
    assert (diagnosis.warmup, diagnosis.overlap) == ("unknown", None)
    assert "it ended after epoch 2;" in str(diagnosis)
    assert [entry.name for entry in diagnosis.classes] == ["0"]


# With an estimate.


def test_an_estimate_gives_the_share_and_its_interval():
    diagnosis = diagnose(with_estimate(estimate_of()))
    assert line(diagnosis, "Share") == (
        "Share: 30.0 % of the labels are estimated to be wrong (25.0 to 35.0 %), by the surest half of the "
        "predictions (90 of 600 samples). The last reweight pruned 180 of 600 samples."
    )
    assert titles(diagnosis) == ["Share", "Classes", "Pairs", "Warm-up", "Kind of errors", "Limits"]
    assert (diagnosis.share, diagnosis.interval) == (0.3, (0.25, 0.35))
    assert line(diagnosis, "Limits").startswith("Limits: some contradictions are errors of the model,")
    assert diagnosis.warmup == "in time"
    assert "no sign that this was too early or too late (mean overlap of the first pruned sets: 0.98)." in str(
        diagnosis
    )
    assert len(diagnosis.advice) == 1


def test_a_model_that_was_still_learning_has_no_interval():
    diagnosis = diagnose(with_estimate(estimate_of(interval=None)))
    assert "estimated to be wrong (roughly; no interval), by the surest half" in str(diagnosis)
    assert diagnosis.warmup == "early"
    assert line(diagnosis, "Warm-up").endswith("it ended after epoch 1, too early: the model was still learning.")
    # Its contradictions say little of the labels.
    assert titles(diagnosis) == ["Share", "Warm-up", "Limits"]
    assert (diagnosis.classes, diagnosis.pairs, diagnosis.kind) == ((), (), "unknown")
    assert diagnosis.advice[1].startswith("Train more epochs, of which the warm-up may take a third")
    assert "rrm_review.draw_samples([0] * 600, 100) writes them to samples.csv" in diagnosis.advice[2]
    fixed = diagnose(with_estimate(estimate_of(interval=None), warmup=1))
    assert fixed.advice[1] == "Train with a longer warm-up than warmup=1, and with more epochs."


def test_a_model_that_had_learnt_nothing_has_no_share():
    estimate = estimate_of(contamination=0.0, interval=None, basis=NOTHING_LEARNT)
    diagnosis = diagnose(with_estimate(estimate))
    assert diagnosis.share is None
    assert "Share: not estimated: when the warm-up ended, the model predicted" in str(diagnosis)
    assert diagnosis.advice[0].startswith("See whether the loss falls, logits are logits and not probabilities")
    assert "train without RRM" not in str(diagnosis)
    assert "too early" not in str(diagnosis)
    assert "is more exact than a guess" in str(diagnosis)


def test_an_estimate_and_few_reweights():
    diagnosis = diagnose(with_estimate(estimate_of(), n_reweights=1))
    assert diagnosis.warmup == "in time"
    assert line(diagnosis, "Warm-up").endswith(
        "no sign that this was too early. Whether it was too late, the reweights don't show."
    )


def test_a_wide_interval_suggests_to_check_labels_by_hand():
    wide = diagnose(with_estimate(estimate_of(interval=(0.15, 0.45))))
    assert wide.advice[1].startswith("Check 100 random labels by hand: rrm_review.draw_samples([0] * 600, 100)")


def test_an_interval_that_holds_0_may_mean_that_no_label_is_wrong():
    estimate = estimate_of(PAIRED, contamination=0.02, interval=(0.0, 0.04))
    diagnosis = diagnose(with_estimate(estimate))
    assert "there may be no wrong ones: train without RRM." in diagnosis.advice[0]
    assert line(diagnosis, "Kind of errors").endswith("If no label is wrong, these are errors of the model.")
    random = diagnose(with_estimate(replace(estimate, pairs=estimate_of().pairs)))
    assert "errors of the model." not in line(random, "Kind of errors")


@pytest.mark.parametrize(("contamination", "side"), [(0.1, "below"), (0.5, "above"), (0.3, None)])
def test_a_contamination_outside_the_interval_is_reported(contamination, side):
    rrm = with_estimate(estimate_of(), contamination=contamination, warmup="auto")
    advice = " ".join(diagnose(rrm).advice)
    if side is None:
        assert "Consider" not in advice
    else:
        expected = (
            f"Consider contamination=0.30: the {100 * contamination:.1f} % that were pruned are {side} the interval"
        )
        assert f"{expected}, 25.0 to 35.0 %." in advice


def test_random_errors():
    diagnosis = diagnose(with_estimate(estimate_of()))
    assert diagnosis.kind == "random"
    assert line(diagnosis, "Classes") == "Classes: no class has clearly more contradicted labels than the others."
    assert line(diagnosis, "Pairs") == ("Pairs: none occurs clearly more often than if labels were replaced at random.")
    assert line(diagnosis, "Kind of errors").startswith(
        "Kind of errors: they look random. Two contradicted labels of one class have the same predicted class in "
        "21.7 % of the cases; at random it would be 25.0 %."
    )
    assert (diagnosis.concentration, diagnosis.expected_concentration) == (pytest.approx(5 / 23), 0.25)


def test_systematic_errors_name_pairs_and_classes():
    diagnosis = diagnose(with_estimate(estimate_of(PAIRED)), ["a", "b", "c", "d", "e"])
    assert (diagnosis.kind, len(diagnosis.pairs)) == ("systematic", 5)
    assert line(diagnosis, "Pairs") == (
        "Pairs: given → predicted (of the contradicted labels of the given class): 'a' → 'b' (40 of 40), 'b' → 'c' "
        "(40 of 40), 'c' → 'd' (40 of 40) and 2 more."
    )
    assert "systematic: most labels of a class that are wrong belong to one other class." in str(diagnosis)
    assert "Check how the classes 'a' and 'b' are defined" in diagnosis.advice[-1]


def test_a_class_with_many_contradictions_is_named():
    table = RANDOM.copy()
    table[2] += 14
    diagnosis = diagnose(with_estimate(estimate_of(table)))
    assert line(diagnosis, "Classes") == "Classes: highest contradicted shares: '2' 57.1 % (80 of 140)."


def test_a_class_that_seems_wrong_throughout_may_be_rare():
    table = np.diag([200] * 4 + [1])
    table[4, :4] = 5
    estimate = estimate_of(table)
    advice = " ".join(diagnose(with_estimate(estimate)).advice)
    assert "Almost all labels of '4' seem wrong. Rare classes are learnt late: make RRM with groups=" in advice
    groups = np.arange(N) % 5
    capped = diagnose(with_estimate(estimate, groups=groups, cap=0.5))
    assert "Almost all labels" not in " ".join(capped.advice)


def test_two_classes_and_too_few_contradictions_have_no_kind():
    two = diagnose(with_estimate(estimate_of([[60, 20], [20, 60]])))
    assert "Pairs" not in titles(two)
    assert two.kind == "unknown"
    assert line(two, "Kind of errors").endswith("with two classes, random errors can't be told from systematic ones.")
    few = diagnose(with_estimate(estimate_of(np.diag([50] * 4) + np.eye(4, k=1, dtype=int))))
    assert line(few, "Kind of errors").endswith(
        "3 contradicted labels are too few to tell random errors from systematic ones."
    )


def test_groups_are_ordered_by_their_estimate():
    groups = rrm_core.Groups(np.arange(N) % 4, n_groups=5)
    estimate = estimate_of(by_group=(0.1, 0.9, 0.2, 0.3, 0.0))
    diagnosis = diagnose(with_estimate(estimate, groups=groups))
    assert line(diagnosis, "Groups") == (
        "Groups: highest estimated shares: 1 (90.0 %), 3 (30.0 %), 2 (20.0 %) and 1 more; the lowest is 10.0 %."
    )
    assert [(entry.name, entry.n, entry.n_suspicious) for entry in diagnosis.groups][:2] == [
        ("1", 150, 135),
        ("3", 150, 45),
    ]
    assert "Check ten labels of each group by hand" in diagnosis.advice[-1]


def test_groups_without_an_estimate_show_what_was_pruned():
    rrm = reweighted(groups=np.arange(N) // 300, contamination=[0.5, 0.1])
    diagnosis = diagnose(rrm)
    assert line(diagnosis, "Groups") == "Groups: highest pruned shares: 0 (50.0 %), 1 (10.0 %); the lowest is 10.0 %."
    assert "rrm_review.draw_samples draws them" in str(diagnosis)
    named = diagnose(rrm, ["cat", "dog"], np.arange(N) // 300)
    assert line(named, "Groups").startswith("Groups: highest pruned shares: cat (50.0 %), dog (10.0 %)")


def test_a_training_run_is_diagnosed():
    rrm = estimate_jobs.train(None, N, {"contamination": "auto"}, range(20))
    diagnosis = diagnose(rrm)
    assert (diagnosis.share, diagnosis.interval) == (rrm.estimate.contamination, rrm.estimate.interval)
    # A fifth of the labels is one class too high.
    assert diagnosis.kind in ("partly systematic", "systematic")
    found = {(pair.given, pair.predicted) for pair in diagnosis.pairs}
    assert len(found) >= 3
    assert found <= {("0", "3"), ("1", "0"), ("2", "1"), ("3", "2")}
    assert str(diagnosis).startswith("Share: ")
    assert "findings" not in repr(diagnosis)


# Arguments.


def test_arguments_that_cannot_be_right_are_refused():
    rrm = with_estimate(estimate_of())
    with pytest.raises(TypeError, match=r"rrm must be an RRM or a BatchRRM, got ContaminationEstimate"):
        diagnose(estimate_of())
    with pytest.raises(ValueError, match=r"classes must name each of the 5 classes, got 2"):
        diagnose(rrm, ["a", "b"])
    with pytest.raises(ValueError, match=r"classes must name each of the 7 classes, got 5"):
        diagnose(rrm, list("abcde"), np.arange(N) % 7)
    with pytest.raises(TypeError, match=r"labels must be integers, got float64; number the classes from 0"):
        diagnose(rrm, labels=np.zeros(N))
    with pytest.raises(ValueError, match=r"labels must have shape \(600,\), one per sample, got \(3,\)"):
        diagnose(rrm, labels=[0, 1, 2])


@pytest.mark.parametrize("settings", [{"contamination": "auto"}, {"contamination": 0.2, "warmup": 2}])
def test_every_layout_gives_the_same_diagnosis(settings):
    n = 203
    expected = str(diagnose(estimate_jobs.train(None, n, settings, range(16)), labels=estimate_jobs.labels_of(n)))
    assert "Classes: " in expected
    for found in on_ranks(2, estimate_jobs.diagnoses_by_layout, n, settings, 16):
        assert found == [expected] * 2
