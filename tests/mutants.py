"""Does the suite bite? Damage a copy of the project in one way at a time, and see whether the test that ought to notice fails.

    python tests/mutants.py                  # writes docs/mutants.md; about an hour, one mutant a core at a time
    python tests/mutants.py leaked-patient   # only these, prints alone

A mutant is a change of one file that somebody could make by mistake. The tests named beside it must pass without it, and one of
them must fail with it. A mutant that nothing catches ends this script with status 1.
"""

import concurrent.futures
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent.parent


def swap(old: str, new: str):
    """A change of a text file: the first `old`, which must be there, becomes `new`."""

    def change(text: str) -> str:
        if old not in text:
            raise SystemExit(f"A mutant no longer fits: {old!r} isn't there.")
        return text.replace(old, new, 1)

    return change


def both(first, second):
    return lambda text: second(first(text))


def cells(edit):
    """A change of a notebook's cells, in place."""

    def change(text: str) -> str:
        notebook = json.loads(text)
        edit(notebook["cells"])
        return json.dumps(notebook, indent=1, ensure_ascii=False) + "\n"

    return change


def executed(all_cells) -> list:
    return [cell for cell in all_cells if cell["cell_type"] == "code" and cell["outputs"]]


def strip_outputs(all_cells):
    executed(all_cells)[3]["outputs"] = []


def swap_counts(all_cells):
    first, second = executed(all_cells)[2:4]
    first["execution_count"], second["execution_count"] = second["execution_count"], first["execution_count"]


def invent_number(all_cells):
    [cell for cell in all_cells if cell["cell_type"] == "markdown"][4]["source"].append("\n\nIt is 0.9871 now.")


def drop_remember(all_cells):
    all_cells[:] = [c for c in all_cells if not "".join(c["source"]).startswith("## What to remember")]


def leave_path(all_cells):
    executed(all_cells)[0]["outputs"][0]["text"] = ["/home/somebody/chest_xray\n"]


ON_DISK = "test_faults::test_content_is_on_the_disk"
ODD = "test_faults::test_odd_surroundings"
CHANGED = "test_faults::test_going_on_with_anything_changed"
KILLED_RUN = "test_faults::test_kill_9_of_a_run"

# name: file, what is done to it, the tests that ought to notice (a file, or file::part of a test's name)
MUTANTS = {
    "leaked-patient": ("pnlib/data.py", swap("kfold.split(train.path, train.label, train.patient)",
                                             "kfold.split(train.path, train.label, train.path)"), "test_data"),
    "test-images-trained-on": ("pnlib/train.py", swap('if set(rows.part) != {"train", "validation"}:', "if False:"), "test_learning::test_training_refuses"),
    "test-images-in-the-search": ("pnlib/shift.py", swap('if (table.split != "train").any():', "if False:"), "test_shift"),
    "labels-flipped": ("pnlib/data.py", swap("label = CLASSES.get(folder.upper())",
                                             "label = {0: 1, 1: 0}.get(CLASSES.get(folder.upper()))"), "test_data"),
    "transposed-axis": ("pnlib/data.py", swap("return np.asarray(gray, np.uint8)[..., None]",
                                              "return np.asarray(gray, np.uint8).T[..., None]"), "test_decode"),
    "rows-in-another-order": ("pnlib/data.py", swap(".get_indexer(rows.path[wanted])]", ".get_indexer(sorted(rows.path[wanted]))]"), "test_data"),
    "stale-cache": ("pnlib/data.py", swap('key.update(f"{path}|{status.st_size}|{status.st_mtime_ns}\\n".encode())',
                                          'key.update(f"{path}\\n".encode())'), "test_data"),
    "sixteen-bits-cut-off": ("pnlib/data.py", swap("np.float64) * (255 / 65535)", "np.float64) * 1"), "test_decode"),
    "exif-ignored": ("pnlib/data.py", swap("image = PIL.ImageOps.exif_transpose(image)", "pass"), "test_decode"),
    "normalisation-dropped": ("pnlib/feed.py", swap("tf.float32) / 255.0", "tf.float32)"), "test_data"),
    "images-and-labels-apart": ("pnlib/feed.py", swap("return x, tf.gather(targets, order)", "return x, tf.gather(targets, order[::-1])"), "test_data"),
    "no-oversampling": ("pnlib/feed.py", swap('if balancing in ("oversample", "overlap"):', 'if balancing == "overlap":'), "test_data"),
    "class-weights-swapped": ("pnlib/feed.py", swap("(len(labels) / (2 * count)", "(len(labels) / (2 * count[::-1])"), "test_data"),
    "overlap-turned-round": ("pnlib/shift.py", swap("np.where(labels == 1, 1 - pneumonia, pneumonia), 4)",
                                                    "np.where(labels == 1, pneumonia, 1 - pneumonia), 4)"), "test_shift"),
    "any-preparation-goes": ("pnlib/feed.py", swap("""    import tensorflow as tf

    runs.check(preparation=preparation)
""", "    import tensorflow as tf\n\n"), "test_data::test_a_misspelt_name"),
    "pixels-divided-twice": ("pnlib/feed.py", swap(" or images.dtype != np.uint8:", ":"), "test_data::test_a_misspelt_name"),
    "any-balancing-goes": ("pnlib/feed.py", swap("    runs.check(balancing=balancing)\n    drawn", "    drawn"), "test_data::test_a_misspelt_name"),
    "seed-ignored-by-the-order": ("pnlib/feed.py", swap("default_rng([seed, epoch])", "default_rng([0, epoch])"), "test_data::test_epoch_orders"),
    "seed-ignored-by-augmentation": ("pnlib/augment.py", swap("tf.stack([self.seed[0], self.seed[1] * 64 + self.drawn])",
                                                              "tf.stack([0, self.drawn])"), "test_learning::test_augmentation_is_seeded"),
    "augmentation-out-of-range": ("pnlib/augment.py", swap("return tf.clip_by_value(images, 0.0, 1.0)", "return images + 0.1"), "test_learning::test_augmentation_is_seeded"),
    "augmentation-in-bfloat16": ("pnlib/augment.py", swap('extra = {"dtype": "float32"}', "extra = {}"), "test_learning::test_augmentation_keeps_float32"),
    "a-layers-width": ("pnlib/model.py", swap("32, 64, 128, 128", "32, 64, 96, 128"), "test_learning::test_the_founding_network"),
    "dropout-not-resumed": ("pnlib/train.py", swap("return [*model.variables, *model.optimizer.variables]",
                                                   "return [*model.weights, *model.optimizer.variables]"), "test_learning::test_a_killed_run_goes_on"),
    "average-not-kept": ("pnlib/train.py", swap("zip(network.trainable_variables, _averages(model), strict=False)",
                                                "zip(network.trainable_variables, [], strict=False)"), "test_learning::test_the_average"),
    "last-epoch-not-kept": ("pnlib/train.py", swap('if keep == "last" or row[MONITOR] > best:', "if row[MONITOR] > best:"), "test_learning::test_the_last_epoch"),
    "layers-counted-on": ("pnlib/train.py", swap("    keras.utils.clear_session()\n", ""), "test_learning::test_the_same_again"),
    "grappler-on": ("pnlib/train.py", swap('{"disable_meta_optimizer": True}', "{}"), "test_learning::test_a_step_gives_the_same_bits"),
    "margins-counted": ("pnlib/feed.py", swap("centred = (images - _around(images * shown) / weight) * shown", "centred = images - _around(images)"), "test_prepare::test_margins"),
    "exposure-kept": ("pnlib/feed.py", swap("return (images - mean) / tf.sqrt(variance + 1e-4) * 0.25 + 0.5", "return (images - mean) + 0.5"), "test_prepare::test_standard"),
    "chest-not-cut-out": ("pnlib/feed.py", swap('if preparation != "chest":', "if True:"), "test_chest::test_training_and"),
    "chest-for-training-only": ("pnlib/feed.py", swap("    images = shown(images, preparation)\n", ""), "test_chest::test_training_and"),
    "chest-anywhere": ("pnlib/chest.py", swap("if score > best[0]:", "if best[0] < 0:"), "test_chest::test_a_chest_is_found"),
    "two-trainings-mixed": ("pnlib/train.py", swap('with runs.only_one(parameters["run"]):', "if True:"), "test_learning::test_of_two_trainings"),
    "half-written-files": ("pnlib/runs.py", both(swap('path.with_name(f".{path.name}.{secrets.token_hex(4)}")', "path"), swap('open("xb")', 'open("wb")')), "test_files"),
    "content-not-on-the-disk": ("pnlib/runs.py", swap("os.fsync(file.fileno())", "pass"), ON_DISK),
    "name-not-on-the-disk": ("pnlib/runs.py", swap("            raise\n        settle(path.parent)", "            raise"), ON_DISK),
    "folder-not-on-the-disk": ("pnlib/runs.py", swap("        partial.rename(final)\n        settle(final.parent)", "        partial.rename(final)"), ON_DISK),
    "cell-not-on-the-disk": ("pnlib/study.py", swap("runs.settle(final.parent)", "pass"), ON_DISK),
    "cache-not-on-the-disk": ("pnlib/data.py", swap("runs.write_whole(cached, content.getbuffer())",
                                                    "cached.parent.mkdir(exist_ok=True); cached.write_bytes(content.getbuffer())"), ON_DISK),
    "demo-not-on-the-disk": ("pnlib/demo.py", swap("runs.sync()", "pass"), ON_DISK),
    "download-not-on-the-disk": ("pnlib/download.py", swap("runs.sync()", "pass"), ON_DISK),
    "umask-ignored": ("pnlib/runs.py", swap("os.replace(temporary, path)", "os.chmod(temporary, 0o644); os.replace(temporary, path)"), ODD),
    "braces-in-a-path": ("pnlib/notebooks.py", swap('.replace("{", "{{").replace("}", "}}")', ""), ODD),
    "a-terminal-of-ascii": ("pnlib/cli.py", swap('stream.reconfigure(errors="replace")', "pass"), ODD),
    "no-such-home-folder": ("pnlib/runs.py", swap("Path(os.path.expanduser(path))", "Path(path).expanduser()"), "test_faults::test_a_folder_named_like"),
    "unreadable-dataset": ("pnlib/data.py", swap("    except OSError as error:\n        raise InputError(f\"Cannot read the folder", "    except ZeroDivisionError as error:\n        raise InputError(f\"Cannot read the folder"), "test_faults::test_what_may_not_be_written"),
    "temporary-folder-full": ("pnlib/train.py", swap("room.write_bytes(bytes(4 * network.count_params() + 2**20))", 'room.write_bytes(b"")'),
                              "test_faults::test_a_write_that_ends_in_the_middle"),
    "changed-meanwhile-and-resumed": ("pnlib/train.py", swap("    if differs:", "    if False:"), CHANGED),
    "precision-changed-meanwhile": ("pnlib/train.py", swap('if set(changed) - {"precision"}:', "if changed:"), CHANGED),
    "nothing-set-aside": ("pnlib/train.py", swap('if (partial / "state.npz").is_file():', "if partial.exists():"), "test_faults::test_killed_before_the_first_epoch"),
    "state-left-behind": ("pnlib/train.py", swap('(final / "state.npz").unlink(missing_ok=True)  # left', "pass  # left"), "test_faults::test_killed_at_the_very_end"),
    "epochs-thrown-away-unasked": ("pnlib/train.py", swap("    if not stored:", "    if False:"), CHANGED),
    "new-folders-not-on-the-disk": ("pnlib/runs.py", swap("    for place in reversed(made):", "    for place in ():"), ON_DISK),
    "a-passing-fault-remembered-as-damage": ("pnlib/data.py", swap("        if _is_the_systems(error.__cause__):", "        if False:"), "test_odd_images"),
    "a-closed-folder-is-none": ("pnlib/data.py", swap("        return stat.S_ISDIR(os.stat(path).st_mode)", "        return os.path.isdir(path)"), "test_faults::test_what_may_not_be_written"),
    "pictures-without-curves-pass": ("tests/nbval_pictures.py", swap("if not 1 / COLOUR <= shares[1] / shares[0] <= COLOUR:", "if False:"), "test_notebooks::test_a_measured_picture"),
    "damaged-identity": ("pnlib/train.py", swap("    except InputError:\n        return {}", "    except InputError:\n        raise"), "test_faults::test_killed_at_the_very_end"),
    "sigterm-not-passed-on": ("pnlib/cli.py", swap("with _ended_by_signals():", "if True:"), "test_faults::test_a_signal_ends_run"),
    "two-runs-mixed": ("pnlib/cli.py", swap('with runs.only_one(options.name, "executing notebooks"):', "if True:"), KILLED_RUN),
    "forced-under-anothers-feet": ("pnlib/cli.py", swap("with runs.only_one(options.name):", "if True:"), "test_faults::test_force_keeps"),
    "force-without-a-training": ("pnlib/cli.py", swap('if options.force and "04_train" not in chosen:', "if False:"), "test_faults::test_force_keeps"),
    "notebook-saved-in-place": ("pnlib/notebooks.py", both(swap('running = output.with_name(f"{name}.running.ipynb")', "running = output"),
                                                           swap("running.unlink(missing_ok=True)", "pass")), KILLED_RUN),
    "killed-notebook-left": ("pnlib/notebooks.py", swap("running.unlink(missing_ok=True)", "pass"), KILLED_RUN),
    "a-full-disk-said-instead-of-ctrl-c": ("pnlib/notebooks.py", swap("            if ended:\n                raise", "            if True:\n                raise"), "test_faults::test_what_ended_a_run"),
    "a-broken-pipe-ends-a-notebook": ("pnlib/notebooks.py", swap("with contextlib.suppress(OSError):\n            for line", "if True:\n            for line"), "test_faults::test_where_nobody_reads"),
    "a-second-signal-cuts-cleaning": ("pnlib/cli.py", swap("            signal.signal(each, signal.SIG_IGN)", "            pass"), "test_faults::test_a_second_signal"),
    "a-closed-terminal": ("pnlib/cli.py", swap("    with contextlib.suppress(OSError):\n        print(f\"pnlib: {sentence}\"", "    if True:\n        print(f\"pnlib: {sentence}\""), "test_faults::test_a_closed_terminal"),
    "threshold-excluded": ("pnlib/evaluate.py", swap("return probabilities >= threshold", "return probabilities > threshold"), "test_evaluate::test_ties"),
    "macro-is-weighted": ("pnlib/evaluate.py", swap('"macro_f1": float(f1.mean())', '"macro_f1": float(np.average(f1, weights=per_class[3]))'), "test_evaluate::test_hand"),
    "bootstrap-over-images": ("pnlib/evaluate.py", swap("np.unique(np.asarray(patients), return_inverse=True)",
                                                        "np.unique(np.arange(len(labels)), return_inverse=True)"), "test_evaluate::test_bootstrap_draws"),
    "nan-accepted": ("pnlib/evaluate.py", swap("if not ((probabilities >= 0) & (probabilities <= 1)).all():",
                                               "if ((probabilities < 0) | (probabilities > 1)).any():"), "test_evaluate::test_unusable"),
    "claims-always-hold": ("pnlib/claims.py", swap("return math.isfinite(measured) and", "return True or"), "test_evaluate::test_claims"),
    "a-claims-tolerance": ("pnlib/stated.json", lambda text: re.sub(r'("test accuracy": \{[^}]*"tolerance": ")[^"]*', r"\g<1>0.30", text), "test_project::test_claims_fail"),
    "figure-left-empty": ("pnlib/plots.py", swap("axis.imshow(image.squeeze(),", "(lambda *a, **k: None)(image.squeeze(),"), "test_plots"),
    "difference-turned-round": ("pnlib/review.py", swap("np.quantile(other - one,", "np.quantile(one - other,"), "test_review"),
    "counter-group-turned-round": ("pnlib/shift.py", swap("ascending=label == 1)", "ascending=label == 0)"), "test_shift"),
    "cell-key-without-parameters": ("pnlib/study.py", swap('"parameters": runs.in_order(values), "test": test}', '"test": test}'), "test_study::test_a_grid"),
    "reference-hash-unchecked": ("pnlib/reference.py", swap("hexdigest() != sha256:", "hexdigest() == 'x':"), "test_project::test_a_damaged"),
    "archive-leads-outside": ("pnlib/download.py", swap('if name.startswith("/") or ".." in parts', 'if name.startswith("/")'), "test_files"),
    "half-copied-jpeg-read": ("pnlib/data.py", swap('if image.format != "PNG" and not _has_end(path, image.fp.tell()):', "if False:"), "test_odd_images"),
    "pipes-waited-for": ("pnlib/data.py", swap("if not stat.S_ISREG(os.stat(path).st_mode):", "if False:"), "test_odd_images"),
    "every-format-read": ("pnlib/data.py", swap('formats=("JPEG", "PNG")', "formats=None"), "test_odd_images"),
    "bombs-decoded": ("pnlib/data.py", swap("if image.width * image.height > LARGEST:", "if False:"), "test_odd_images"),
    "broken-links-left-out": ("pnlib/data.py", swap("        if _is_image(name):", "        if _is_image(name) and os.path.isfile(root / part / folder / name):"), "test_odd_images"),
    "only-the-first-damaged-named": ("pnlib/data.py", swap('+ (f" Damaged too: {others}." if others else "")', ""), "test_odd_images"),
    "skipped-without-a-word": ("pnlib/data.py", swap("        if self.skipped:", "        if False:"), "test_odd_images"),
    "published-though-skipped": ("pnlib/data.py", swap("is_published = is_published and not skipped", "pass"), "test_odd_images"),
    "skipped-unasked": ("pnlib/data.py", swap('if damaged == "skip" else ()', "if True else ()"), "test_odd_images"),
    "warnings-of-pillow-shown": ("pnlib/data.py", swap('        warnings.simplefilter("ignore")\n        yield', "        yield"), "test_odd_images"),
    "unprintable-names-listed": ("pnlib/data.py", swap("if _UNPRINTABLE.search(name):", "if False:"), "test_odd_images"),
    "changed-cache-believed": ("pnlib/data.py", swap(" and digest == _digest(images)", ""), "test_fuzz::test_a_mutated_cache"),
    "a-class-on-one-side": ("pnlib/data.py", swap("if min(train.label.iloc[side].nunique() for side in (rest, held_out)) < 2:", "if False:"), "test_fuzz::test_no_patient"),
    "index-of-a-run-believed": ("pnlib/data.py", swap("if not sound or not (here.to_numpy() == index[same].to_numpy()).all():", "if False:"), "test_fuzz::test_a_mutated_run_folder"),
    "changed-weights-loaded": ("pnlib/train.py", swap("if sha256 and hashlib.sha256(path.read_bytes()).hexdigest() != sha256:", "if False:"), "test_fuzz::test_mutated_weights"),
    "damaged-state-a-traceback": ("pnlib/train.py", swap('return json.loads(str(state["history"]))\n    except Exception as error:', 'return json.loads(str(state["history"]))\n    except ValueError as error:'), "test_fuzz::test_a_mutated_state"),
    "threshold-on-a-probability": ("pnlib/evaluate.py", swap("return float(max(halfway, np.nextafter(below.max(), 2)))", "return float(halfway)"), "test_fuzz::test_no_threshold"),
    "half-a-label-is-normal": ("pnlib/evaluate.py", swap("labels, probabilities = np.asarray(labels, np.float64),", "labels, probabilities = np.asarray(labels).astype(int),"), "test_fuzz::test_metrics_of_anything"),
    "a-draw-called-otherwise": ("pnlib/evaluate.py", swap("np.count_nonzero(thresholds >= threshold)", "np.count_nonzero(thresholds > threshold)"), "test_fuzz::test_metrics_are"),
    "threshold-unchecked": ("pnlib/evaluate.py", swap("if not isinstance(threshold, numbers.Real) or not abs(threshold) <= sys.float_info.max:", "if False:"), "test_fuzz::test_metrics_of_anything"),
    "draws-without-a-class": ("pnlib/evaluate.py", swap(" or set(np.unique(labels)) != {0, 1}:", ":"), "test_fuzz::test_intervals or test_metrics"),
    "unknown-claims": ("pnlib/claims.py", swap("    if name not in entries:", "    if False:"), "test_fuzz::test_a_claim"),
    "parameters-that-no-run-can-store": ("pnlib/runs.py", swap("json.dumps(value, allow_nan=False)  # as", "json.dumps(value, default=str)  # as"), "test_fuzz::test_a_parameter_is"),
    "deep-json-a-traceback": ("pnlib/runs.py", swap("except (OSError, ValueError, RecursionError) as error:", "except (OSError, ValueError) as error:"), "test_fuzz::test_a_mutated_json"),
    "a-date-in-a-study": ("pnlib/study.py", swap("except (ValueError, RecursionError) as error:", "except ZeroDivisionError as error:"), "test_fuzz::test_a_study_is"),
    "damaged-notebook-a-traceback": ("pnlib/notebooks.py", swap("except Exception as error:  # nbformat raises many kinds", "except ZeroDivisionError as error:"), "test_fuzz::test_a_mutated_notebook"),
    "damaged-provenance-a-traceback": ("pnlib/reference.py", swap("except (KeyError, TypeError, InputError) as error:", "except ZeroDivisionError as error:"), "test_fuzz::test_a_mutated_reference"),
    "encrypted-archive-a-traceback": ("pnlib/download.py", swap("    except Exception as error:  # zipfile and zlib raise many kinds", "    except zipfile.BadZipFile as error:"), "test_fuzz::test_a_mutated_archive"),
    "one-entry-twice": ("pnlib/download.py", swap("parts = PurePosixPath(name).parts", "parts = tuple(name.split('/'))"), "test_files"),
    "pickles-in-the-cache": ("pnlib/data.py", swap("images = np.load(file, allow_pickle=False)", "images = np.load(file, allow_pickle=True)"), "test_security::test_a_pickle_in_the_cache"),
    "pickles-in-a-state": ("pnlib/train.py", swap("with np.load(path, allow_pickle=False) as state:", "with np.load(path, allow_pickle=True) as state:"), "test_security::test_a_pickle_in_a_state"),
    "dashboard-open-to-all": ("pnlib/study.py", swap('dashboard_address="127.0.0.1:0"', 'dashboard_address="0.0.0.0:0"'), "test_security::test_a_study_listens"),
    "lab-open-to-all": ("Makefile", swap("/jupyter lab notebooks", "/jupyter lab notebooks --ip=0.0.0.0"), "test_security::test_make_lab"),
    "a-package-unlocked": ("requirements.lock", lambda text: re.sub(r"(?m)^pooch==.*\n(?:    .*\n)+", "", text), "test_security::test_the_lock or test_every_dependency"),
    "exams-over-images": ("pnlib/exams.py", swap("np.unique(table.patient.to_numpy(), return_inverse=True)", "np.unique(np.arange(len(table)), return_inverse=True)"), "test_exams"),
    "ties-won": ("pnlib/exams.py", swap("np.sign(p_ill[None] - p_normal[:, None]).astype(np.float32) / 2 + 0.5", "(p_ill[None] >= p_normal[:, None]).astype(np.float32)"), "test_exams"),
    "gains-over-another-seed": ("pnlib/study.py", swap("first.get(seed)", "next(iter(first.values()), None)"), "test_study::runs_keeps"),
    "no-interval-where-all-are-right": ("pnlib/review.py", swap("elif right.all() or not right.any():", "elif False:"), "test_review"),
    "all-cores-for-one-cell": ("pnlib/chest.py", swap("ThreadPoolExecutor(runs.threads())", "ThreadPoolExecutor(8)"), "test_chest::test_a_cell_of"),
    "all-cores-for-decoding": ("pnlib/data.py", swap("ThreadPoolExecutor(runs.threads())", "ThreadPoolExecutor(8)"), "test_chest::test_a_cell_of"),
    "answers-with-six-digits": ("pnlib/exams.py", swap('float_format="%.9g"', 'float_format="%.6f"'), "test_exams"),
    "a-killed-cells-folder-stays": ("pnlib/study.py", swap('prefix="pnlib-cell-", dir=_workers_folder()', 'prefix="pnlib-cell-"'), "test_study::leaves_is_cleared"),
    "images-of-the-clients-folder-alone": ("pnlib/study.py", swap('folder if Path(folder).is_dir() else "demo" if expected["is_demo"] else ""', "folder"), "test_study::takes_its_own"),
    "weights-file-unchecked": ("pnlib/transfer.py", swap("if hashlib.sha256(content).hexdigest() != SHA256:", "if False:"), "test_transfer::never_opened"),
    "colours-averaged": ("pnlib/transfer.py", swap("kernel.sum(axis=2, keepdims=True)", "kernel.mean(axis=2, keepdims=True)"), "test_transfer::gray_image"),
    "kernels-turned": ("pnlib/transfer.py", swap("else (2, 3, 1, 0))", "else (3, 2, 1, 0))"), "test_transfer::still_name"),
    "noise-of-one-strength": ("pnlib/augment.py", swap("(shape[0], 1, 1, 1)", "(1, 1, 1, 1)"), "test_learning::test_noise_is_normal"),
    "a-result-in-the-readme": ("README.md", lambda text: re.sub(r"(\| AUROC \|[^|]*\| )0\.9", r"\g<1>0.8", text), "test_project::test_readme_results"),
    "a-result-in-a-card": ("models/reference/founding/README.md", lambda text: re.sub(r"(\| accuracy \| )0\.\d+", r"\g<1>0.999", text), "test_prose"),
    "a-number-in-prose": ("notebooks/04_train.ipynb", cells(invent_number), "test_prose"),
    "outputs-stripped": ("notebooks/03_model.ipynb", cells(strip_outputs), "test_notebooks"),
    "executed-out-of-order": ("notebooks/02_augment.ipynb", cells(swap_counts), "test_notebooks"),
    "a-cell-deleted": ("notebooks/03_model.ipynb", cells(drop_remember), "test_notebooks"),
    "a-path-left-behind": ("notebooks/01_explore.ipynb", cells(leave_path), "test_notebooks"),
}  # fmt: skip

QUICK = {"test_notebooks": ["-k", "committed or exempt or parts"]}  # what needs no execution


def main() -> int:
    wanted = sys.argv[1:] or list(MUTANTS)
    for file, change, _ in (MUTANTS[name] for name in wanted):
        change(
            (HERE / file).read_text(encoding="utf-8")
        )  # ends where one no longer fits: now, rather than after an hour
    rows = []
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:  # of threads that wait for processes
        list(pool.map(green, sorted({MUTANTS[name][2] for name in wanted})))
        for row in pool.map(try_out, wanted):
            rows.append(row)
            print(f"{row[0]:<34} {'caught by ' + row[2] if row[2] else 'NOT CAUGHT'}  {row[3]}", flush=True)
    if wanted == list(MUTANTS):
        write(rows)
    return int(not all(caught for _, _, caught, _ in rows))


def green(tests: str) -> None:
    """A test that fails anyway catches nothing."""
    with tempfile.TemporaryDirectory(prefix="mutant-") as folder:
        done = run(copy_into(Path(folder)), selection_of(tests))
    if done.returncode:
        raise SystemExit(f"{tests} is not green without any mutant:\n{done.stdout[-2000:]}")


def try_out(name: str) -> tuple[str, str, str, str]:
    """A mutant, the file that it changes, the test that caught it ('' for none), and what that test said."""
    file, change, tests = MUTANTS[name]
    with tempfile.TemporaryDirectory(prefix="mutant-") as folder:
        copy = copy_into(Path(folder))
        before = (copy / file).read_text(encoding="utf-8")
        after = change(before)
        if after == before:
            raise SystemExit(f"The mutant {name} changes nothing.")
        (copy / file).write_text(after, encoding="utf-8")
        done = run(copy, selection_of(tests))
        failed = re.search(r"^(?:FAILED|ERROR) (\S+?)(?:\[.*\])?(?: - (.*))?$", done.stdout, re.M)
        if done.returncode == 1 and failed:
            return name, file, failed[1].removeprefix("tests/"), failed[2] or ""
        if done.returncode not in (0, 1):
            raise SystemExit(f"pytest ended with {done.returncode} on the mutant {name}:\n{done.stdout[-2000:]}")
    return name, file, "", ""


def copy_into(folder: Path) -> Path:
    listed = subprocess.run(["git", "ls-files"], cwd=HERE, capture_output=True, text=True, check=True).stdout
    for path in listed.splitlines():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes((HERE / path).read_bytes())
    return folder


def selection_of(tests: str) -> list[str]:
    file, _, test = tests.partition("::")
    return [f"tests/{file}.py", *(["-k", test] if test else QUICK.get(tests, []))]


def run(copy: Path, selection: list[str]):
    environment = {k: v for k, v in os.environ.items() if k != "PNLIB_DATA"} | {"PYTHONPATH": str(copy)}
    line = [sys.executable, "-m", "pytest", "-q", "-x", "--tb=line", *selection]
    return subprocess.run(line, cwd=copy, env=environment, capture_output=True, text=True)


def write(rows) -> None:
    lines = [
        "# Mutants: does the suite bite?",
        "",
        "`python tests/mutants.py` damages a copy of the project in one way at a time (each change stands there) and demands that a test",
        f"fails. Last full run: {time.strftime('%Y-%m-%d')}, {sum(bool(c) for _, _, c, _ in rows)} of {len(rows)} caught.",
        "",
        "| mutant | file | caught by |",
        "| --- | --- | --- |",
        *(
            f"| {name.replace('-', ' ')} | {file} | {f'`{caught}`' if caught else '**nothing**'} |"
            for name, file, caught, _ in rows
        ),
    ]
    (HERE / "docs" / "mutants.md").write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
