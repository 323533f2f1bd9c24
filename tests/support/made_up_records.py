"""Synthetic records of every experiment: two seeds, the second 0.02 better unless given."""

from __future__ import annotations

COMMIT = "0123456789abcdef"


def record(experiment, runs, **changes):
    return {
        "experiment": experiment,
        "command": f"python -m experiments {experiment} --data DIR --seeds 2",
        "commit": [COMMIT],
        "date": "today",
        "machine": {"processor": "P", "cores": 2, "system": "Linux"},
        "versions": {"python": "3", "torch": ["1", "2"]},
        "seconds": 5400.0,
        "runs": runs,
        **changes,
    }


def run(method, seed, settings, accuracy, **result):
    outcome = {
        "accuracy": accuracy,
        "best_accuracy": accuracy + 0.1,
        "memorised": 0.25,
        "fitted": 0.875,
        "epochs": {"accuracy": [0.1, accuracy + 0.1, accuracy], "loss": [3.0, 2.0, 1.0]},
        **result,
    }
    return {
        "method": method,
        "settings": settings,
        "seed": seed,
        "seconds": 60.0,
        "workers": 2,
        "commit": COMMIT,
        "result": outcome,
    }


def pruning(n_clean=40, n_wrong=10, found=8, innocent=2, largest=(1.2, 1.25), nominal=4):
    """Return the additional entries of a result with RRM, which reweights after the last two of three epochs."""

    def histogram(pruned, n):
        return [n - pruned if i == nominal else pruned if i == 0 else 0 for i in range(8)]

    return {
        "recall": found / n_wrong,
        "precision": found / (found + innocent),
        "histogram": {"clean": histogram(innocent, n_clean), "wrong": histogram(found, n_wrong)},
        "rounds": {"epoch": [2, 3], "n_pruned": [10, found + innocent], "largest_weight": list(largest)},
    }


def with_courses(made, clean, wrong):
    made["result"]["epochs"] |= {"clean_pruned": [0.0, *clean], "wrong_pruned": [0.0, *wrong]}
    return made


def table6():
    base = {"noise": 0.2, "samples": 50, "recipe": {"epochs": 3}}
    rules = {
        "plain training": None,
        "RRM, contamination 0.2, kept": {"contamination": 0.2},
        "RRM, argmin": {"redistribute": "argmin"},
    }
    runs = []
    for method, rule in rules.items():
        for seed in range(2):
            # Argmin's kept samples have weight 1; those that "kept" keeps, 50 / (50 - 10) = 1.25.
            found = (
                {}
                if rule is None
                else pruning(found=8 - seed, innocent=2 + seed, nominal=3 if "argmin" in method else 4)
            )
            made = run(method, seed, base | {"rrm": rule}, 0.7 + 0.02 * seed, **found)
            runs.append(with_courses(made, (0.1, 0.05), (0.6, 0.8 - 0.2 * seed)) if found else made)
    return record("mnist-table6", runs)


def adversarial():
    runs = []
    for rate in (0.2, 0.3):
        for method, start in (("AT, FGSM", 0.5), ("A-RRM, FGSM", 0.8), ("A-RRM, FGSM, fresh losses", 0.9)):
            for seed in range(2):
                clean = start + 0.02 * seed - (rate - 0.2)
                robust = {name: {"0.0": clean, "0.1": clean - drop} for name, drop in (("fgsm", 0.1), ("pgd", 0.2))}
                runs.append(run(method, seed, {"noise": rate}, clean, robust=robust))
    return record("mnist-adversarial", runs)


def cifar10n():
    base = {"samples": 10_000, "recipe": {"epochs": 3}}
    runs = []
    for labels, rate in (("aggre", 0.09), ("random1", 0.17), ("worst", 0.4)):
        for seed in range(2):
            accuracy = 0.9 - rate + 0.02 * seed
            runs += [
                run("CCE", seed, base | {"labels": labels, "rrm": None}, accuracy),
                run(
                    "RRM",
                    seed,
                    base | {"labels": labels, "rrm": {"contamination": rate}},
                    accuracy + 0.05,
                    **pruning(found=5 + 2 * seed),
                ),
            ]
    return record("cifar10n", runs)


def linear_probe():
    base = {"samples": 40_000, "pixels": 160, "recipe": {"epochs": 3}}
    runs = []
    for labels, share in (("aggre", 0.1), ("random1", 0.1), ("worst", 0.4)):
        for seed in range(2):
            accuracy = 0.9 - share + 0.02 * seed
            common = {"true_share": share + 0.01 * seed, "task_seconds": 10.0}
            # RRM is better on the worst labels, and the list worse everywhere.
            gains = {
                "plain": 0.0,
                "RRM, auto": (share - 0.1) / 6 + (0.01 * seed if share == 0.1 else 0),
                "cleanlab": -0.1,
            }
            for method, gain in gains.items():
                settings = base | {"labels": labels}
                made = run(method, seed, settings, accuracy + gain, **common)
                if method != "plain":
                    made["result"] |= {"recall": 0.8 - 0.2 * seed, "precision": 0.5}
                if method == "RRM, auto":
                    made["result"]["estimate"] = {"contamination": share - 0.05}
                runs.append(made)
    return record("linear-probe", runs)


def fashion():
    runs = []
    for rate in (0.1, 0.2, 0.3):
        for method, gain in (("CCE", 0.0), ("CCE + RRM", rate), ("MAE", 0.05), ("MAE + RRM", 0.05 - rate / 10)):
            for seed in range(2):
                found = pruning(found=8 if "CCE" in method else 0) if "RRM" in method else {}
                # The seeds differ by much, and what RRM adds to them by little.
                accuracy = 0.6 + 0.1 * seed + gain * (1 + 0.1 * seed)
                runs.append(run(method, seed, {"noise": rate}, accuracy, **found))
    return record("fashion-synthetic", runs)


def ablation():
    rrm = {"contamination": 0.3, "warmup": 10}
    runs = []
    for seed in range(2):
        for a, augment in enumerate(("none", "strong")):
            for s, scale in enumerate(("mean", "paper")):
                where, base = f"augmentation {augment}, scale {scale}", {"augment": augment}
                accuracy = 0.8 - 0.1 * a - 0.2 * s + 0.02 * seed
                runs.append(run(f"plain, {where}", seed, base | {"rrm": None}, accuracy - 0.1))
                for rule, largest in (("argmin", 3000.0 + 2 * seed), ("kept", 1.25)):
                    settings = base | {"rrm": rrm | {"redistribute": rule, "scale": scale}}
                    runs.append(run(f"{rule}, {where}", seed, settings, accuracy, **pruning(largest=(largest, 1.0))))
            settings = {"augment": augment, "scoring": "pass", "rrm": rrm}
            runs.append(run(f"fresh losses, augmentation {augment}", seed, settings, 0.66, **pruning()))
        runs.append(run("mu 0.5", seed, {"rrm": rrm | {"mu": 0.5}}, 0.55, **pruning(largest=(2.5, 1.0))))
    return record("ablation", runs)


def auto():
    # By seed: true share, estimate, interval. The second on "worst" was made of a model that was still learning.
    estimates = {
        ("cifar10n", "worst"): ((0.4, 0.35, [0.3, 0.45]), (0.41, 0.37, None)),
        ("fashion", "clean"): ((0.0, 0.02, [0.0, 0.06]), (0.0, 0.04, [0.01, 0.08])),
        ("digits", "symmetric 0.3"): ((0.3, 0.25, [0.2, 0.35]), (0.3, 0.17, [0.1, 0.25])),
    }
    # By seed: the accuracy of auto less that of the other methods; on wrong labels, plain training's is lower by 0.1.
    gains = {"cifar10n": (0.0, 0.03), "fashion": (0.02, 0.02), "digits": (-0.05, -0.04)}
    runs = []
    for name in ("plain", "auto", "true", "true, warm-up 10", "half", "double"):
        for (data, noise), by_seed in estimates.items():
            if noise == "clean" and name not in ("plain", "auto"):
                continue
            settings = {"data": data, "noise": noise, "recipe": {"epochs": 3}, "rrm": {"plain": None}.get(name, name)}
            for seed, (share, contamination, interval) in enumerate(by_seed):
                result = {"true_share": share, "best_accuracy": 0.9}
                if name != "plain":
                    # Without a fixed warm-up there is an estimate, which only auto uses.
                    result["estimate"] = {"contamination": contamination, "interval": interval, "epoch": 1 + seed}
                accuracy = 0.7 + 0.02 * seed
                if name == "auto":
                    accuracy += gains[data][seed]
                elif name == "plain" and share:
                    accuracy -= 0.1
                runs.append(run(f"{data}, {noise}: {name}", seed, settings, accuracy, **result))
    return record("auto", runs)


def auto_large():
    runs = [made for made in auto()["runs"] if made["method"].endswith(": auto")]
    return record("auto-large", runs)


def listing_metrics(precision, n_listed, f1):
    return {
        "average_precision": precision,
        "precision_at_100": precision,
        "precision_at_true_number": precision,
        "n_listed": n_listed,
        "precision": f1,
        "recall": f1,
        "f1": f1,
    }


def listing_run(method, data, noise, seed, listings, n_wrong=30, **options):
    made = run(method, seed, {"data": data, "noise": noise, **options}, 0.0)
    made["result"] = {"n": 100, "n_wrong": n_wrong, "listings": listings}
    return made


def detection(n_seeds=2):
    clean = ("fashion", "clean")
    runs = []
    for seed in range(n_seeds):
        luck = 0.1 * seed
        rrm = {"RRM": listing_metrics(0.8 + luck, 28 + 2 * seed, 0.7 + luck)}
        learning = {"confident learning": listing_metrics(0.7 + 1.1 * luck, 20, 0.7 - luck)}
        loss = {"small loss": listing_metrics(0.5, None, None)}
        for data, noise in (("digits", "symmetric 0.3"), ("imdb", "checked")):
            runs += [
                listing_run("RRM", data, noise, seed, rrm),
                listing_run("confident learning", data, noise, seed, learning, folds=5),
                listing_run("plain training", data, noise, seed, loss, early=10),
            ]
        on_clean = {name: {name: listing_metrics(None, n, None)} for name, n in (("RRM", 5), ("confident learning", 1))}
        runs += [listing_run(name, *clean, seed, listings, n_wrong=0) for name, listings in on_clean.items()]
    return record("detection", runs)


def groups(n_seeds=2):
    """Accuracies of sources, and recalls of three classes that each have a third of the last one's samples."""
    runs = []
    for seed in range(n_seeds):
        luck = 0.1 * seed
        shares = {"true_share": 0.25, "true_shares": [0.0, 0.5], "estimated_shares": [0.02, 0.44]}
        for data, gain in (("rules", 0.0), ("better annotators", 0.02), ("annotators", 0.05)):
            settings = {"data": data, "noise": "by group"}
            for name, accuracy in (("plain", 0.5), ("one contamination, true", 0.6), ("quotas, auto", 0.6 + gain)):
                pruned = {} if name == "plain" else pruning()
                runs.append(run(f"{data}: {name}", seed, settings, accuracy + luck, **shares, **pruned))
        for name, recalls in (
            ("plain", (0.9, 0.6, 0.0)),
            ("true", (0.9, 0.9, 0.3)),
            ("true, cap 0.5", (0.9, 0.8, 0.7)),
        ):
            result = {"class_recall": list(recalls)}
            if name != "plain":
                result["pruned_by_class"] = [0.1, 0.2, 0.5 + luck]
            runs.append(run(f"tail 9: {name}", seed, {"data": "tail 9", "noise": "by group"}, 0.6, **result))
    return record("groups", runs)


def scores(n_seeds=2):
    runs = []
    for seed in range(n_seeds):
        luck = 0.1 * seed
        for data, noise, gain in (("fashion", "tail 50", 0.03), ("cifar10n", "worst", 0.01 - 0.2 * luck)):
            settings = {"data": data, "noise": noise}
            for name, more in (("loss", 0.0), ("noise-aware", gain)):
                result = pruning() | {"class_recall": [0.8, 0.2 + more]}
                runs.append(run(f"{data}, {noise}: {name}", seed, settings, 0.5 + luck + more, **result))
    return record("scores", runs)


def text(n_seeds=2):
    """Flipped labels, of which one run of two estimates none; labels as published; labels of rules with groups."""
    runs = []
    for seed in range(n_seeds):
        luck = 0.1 * seed
        base = {"n": 50, "true_share": 0.2}
        estimate = {"interval": None, "epoch": 3, "n_held_out": 8, "basis": "surest"}
        settings = {"data": "imdb", "noise": "symmetric 0.2", "recipe": {"epochs": 3}}
        pruned = pruning()
        if seed:
            pruned["precision"] = None
            pruned["recall"] = 0.0
            pruned["rounds"]["n_pruned"][-1] = 0
        for name, accuracy, result in (
            ("plain", 0.5, {}),
            ("auto", 0.52 + luck, pruned | {"estimate": estimate | {"contamination": 0.2 * (1 - seed)}}),
            ("true", 0.6, pruning()),
        ):
            runs.append(run(f"imdb, symmetric 0.2: {name}", seed, settings, accuracy + luck, **base, **result))
        settings = settings | {"data": "banking77", "noise": "clean"}
        clean = {"n": 50, "true_share": 0.0, "memorised": None}
        found = pruning(n_wrong=1, found=0, innocent=1) | {"recall": None, "precision": 0.0}
        for name, result in (("plain", {}), ("auto", found | {"estimate": estimate | {"contamination": 0.02}})):
            runs.append(run(f"banking77, clean: {name}", seed, settings, 0.8 + luck, **clean, **result))
        settings = settings | {"data": "sms", "noise": "rules"}
        groups = {"size": [40, 1200], "true": [0.05, 0.1], "checked": [0.1, 0.0]}
        groups |= {"pruned": [4, seed], "wrong_pruned": [1, 0]}
        for name, gain, result in (
            ("plain", 0.0, {}),
            ("auto", -0.02, pruning() | {"estimate": estimate | {"contamination": 0.2}}),
            (
                "quotas, auto",
                0.0,
                pruning()
                | {"groups": groups | {"estimated": [0.0, luck]}, "estimate": estimate | {"contamination": 0.1}},
            ),
            ("quotas, checked", 0.01, pruning() | {"groups": groups}),
            ("correct labels", 0.1, {}),
        ):
            runs.append(run(f"sms, rules: {name}", seed, settings, 0.7 + luck + gain, **base, **result))
    return record("text", runs)


def meta(n_seeds=2):
    """Each method is better than the one before by 0.1, and twice as slow."""
    runs = []
    for seed in range(n_seeds):
        for noise, lost in (("symmetric 0.4", 0.0), ("pair 0.3", 0.2), ("instance 0.3", 0.2)):
            for k, name in enumerate(("plain", "RRM, auto", "Meta-Weight-Net, 250", "Meta-Weight-Net, 1000")):
                settings = {"data": "fashion", "noise": noise, "n_clean": (0, 0, 250, 1000)[k]}
                result = {"memorised": 0.5 - 0.1 * k, "seconds_per_epoch": (1 + seed) * 2.0**k}
                if name != "plain":
                    result["mean_weight"] = {"clean": 1.25, "wrong": 0.25 * k}
                accuracy = 0.5 - lost + 0.02 * seed + 0.1 * k
                runs.append(run(f"fashion, {noise}: {name}", seed, settings, accuracy, **result))
    return record("meta", runs)


def systems(n_seeds=2):
    """DivideMix without RRM and with it, beside plain training and RRM; the second kind of labels has one seed."""
    runs = []
    for noise, n in (("worst", n_seeds), ("aggre", 1)):
        for seed in range(n):
            settings = {"data": "cifar10n", "noise": noise}
            for k, name in enumerate(("CCE", "RRM", "DivideMix", "DivideMix + RRM, drop")):
                made = run(name, seed, settings, 0.5 + 0.05 * k + 0.02 * seed)
                if name.startswith("DivideMix"):
                    n_pruned = 100 * (k - 2)
                    made["result"]["epochs"] |= {
                        "labelled": [None, 900 - n_pruned, 800 - n_pruned],
                        "wrong_selected": [None, 0.2, 0.1],
                        "wrong_labelled": [None, 0.2 - 0.1 * (k - 2), 0.1],
                        "pruned": [None, n_pruned, n_pruned],
                        "precision": [None, None if k == 2 else 0.5, None if k == 2 else 0.25],
                    }
                    network = {
                        "labelled": [10 + seed, 70],
                        "wrong_labelled": [0.5, 0.1],
                        "pruned": [n_pruned // 4, n_pruned],
                        "precision": [None, 0.25] if n_pruned else [None, None],
                    }
                    made["result"]["by_class"] = [network, network]
                runs.append(made)
    return record("systems", runs)


RECORDS = {
    "mnist_table6": table6,
    "mnist_adversarial": adversarial,
    "cifar10n": cifar10n,
    "linear_probe": linear_probe,
    "fashion_synthetic": fashion,
    "ablation": ablation,
    "auto": auto,
    "auto_large": auto_large,
    "groups": groups,
    "meta": meta,
    "scores": scores,
    "systems": systems,
    "detection": detection,
    "text": text,
}
