"""Does the suite bite? Damage a copy of the project in one way at a time, and see whether the test that ought to notice fails.

    python tests/project/mutants.py                  # writes docs/mutants.md; about an hour, one mutant a core at a time
    python tests/project/mutants.py leaked-patient   # only these, prints alone

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

HERE = Path(__file__).resolve().parents[2]


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


def change_measured_value(all_cells):
    (cell,) = [c for c in all_cells if c["cell_type"] == "markdown" and "96.5 %" in "".join(c["source"])]
    cell["source"] = ["".join(cell["source"]).replace("96.5 %", "95.6 %")]


def leave_path(all_cells):
    executed(all_cells)[0]["outputs"][0]["text"] = ["/home/somebody/chest_xray\n"]


ON_DISK = "runner/test_faults_files::test_content_is_on_the_disk"
KILLED_RUN = "runner/test_signals::test_kill_9_of_a_run"
CHANGED = "core/test_resume::test_what_a_training_was_not_begun_with"
OTHERS = "core/test_other_peoples_files"
DOOR = "core/test_demo_and_download"

# name: file, what is done to it, the tests that ought to notice (a file, or file::part of a test's name)
MUTANTS = {
    # who is where
    "leaked-patient": ("pnlib/datasets/split.py", swap("kfold.split(train.path, train.label, train.patient)", "kfold.split(train.path, train.label, train.path)"), "core/test_split"),
    "a-class-on-one-side": ("pnlib/datasets/split.py", swap("if min(train.label.iloc[side].nunique() for side in (rest, held_out)) < 2:", "if False:"), "core/test_fuzz::test_no_patient"),
    "index-of-a-run-believed": ("pnlib/datasets/split.py", swap("if not sound or not (here.to_numpy() == index[same].to_numpy()).all():", "if False:"), "core/test_split or core/test_fuzz_files"),
    "leaks-unchecked": ("pnlib/training.py", swap("    check_leaks(rows, images)\n", ""), f"{OTHERS}::test_every_training"),
    "pictures-on-two-sides": ("pnlib/datasets/leaks.py", swap("        if part[first] != part[second]:", "        if False:"), f"{OTHERS}::test_every_training"),
    "equal-pictures-unlinked": ("pnlib/datasets/leaks.py", swap("np.column_stack([order[equal], order[equal + 1]]), one[near]", "one[near]"), f"{OTHERS}::test_copies_link"),
    "copies-apart": ("pnlib/training.py", swap("one_person(own, images)", "own"), f"{OTHERS}::test_a_copy_under"),
    "copies-are-patients": ("pnlib/datasets/names.py", swap("COPY.sub(\"\", SERVICE.sub(\"\", stem))", "stem"), f"{OTHERS}::test_the_patient_is"),
    "version-3-unknown": ("pnlib/datasets/names.py", swap("if match := VERSION_3.fullmatch(original_stem(stem)):", "if match := None:"), f"{OTHERS}::test_version_3"),
    "unused-without-a-word": ("pnlib/datasets/find.py", swap("in self.unused.items():", "in ():"), f"{OTHERS}::test_what_is_not_used"),
    "test-images-trained-on": ("pnlib/training.py", swap('if set(rows.part) != {"train", "validation"}:', "if False:"), "core/test_training::test_unusable"),
    "test-images-in-the-shifted-split": ("pnlib/shortcuts.py", swap('if (table.split != "train").any():', "if False:"), "core/test_shortcuts"),
    "labels-flipped": ("pnlib/datasets/names.py", swap('"NORMAL": (0, ""), "PNEUMONIA": (1, "")', '"NORMAL": (1, ""), "PNEUMONIA": (0, "")'), "core/test_find_dataset"),
    # pixels
    "transposed-axis": ("pnlib/datasets/images.py", swap("PIL.Image.Resampling.BILINEAR), np.uint8)[..., None]", "PIL.Image.Resampling.BILINEAR), np.uint8).T[..., None]"), "core/test_images"),
    "rows-in-another-order": ("pnlib/datasets/images.py", swap(".get_indexer(rows.path[wanted])", ".get_indexer(sorted(rows.path[wanted]))"), "core/test_images"),
    "stale-cache": ("pnlib/datasets/images.py", swap('key.update(f"{path}|{status.st_size}|{status.st_mtime_ns}\\n".encode())', 'key.update(f"{path}\\n".encode())'), "core/test_images"),
    "changed-cache-believed": ("pnlib/datasets/images.py", swap("hashlib.sha256(images.data).digest()):", "file.seek(-32, 2) and file.read()):"), "core/test_fuzz_files::test_a_mutated_cache"),
    "a-large-split-in-memory": ("pnlib/datasets/images.py", swap("if mapped.nbytes > IN_MEMORY else", "if mapped.nbytes > 2**60 else"), "core/test_images::test_a_large_split"),
    "callers-change-the-cache": ("pnlib/datasets/images.py", swap('open_memmap(cached, mode="c")', 'open_memmap(cached, mode="r+")'), "core/test_images::test_a_large_split"),
    "sixteen-bits-cut-off": ("pnlib/datasets/images.py", swap("(values * (255 / (2**bits - 1)))", "values"), "core/test_odd_images or core/test_images"),
    "twelve-bits-taken-for-sixteen": ("pnlib/datasets/images.py", swap("for bits in (8, 10, 12, 14)", "for bits in (8,)"), f"{OTHERS}::test_gray_values"),
    "flat-images-pass": ("pnlib/datasets/images.py", swap("< FLAT:", "< 0:"), f"{OTHERS}::test_an_image_without"),
    "exif-ignored": ("pnlib/datasets/images.py", swap("PIL.ImageOps.exif_transpose(image)", "image"), "core/test_odd_images"),
    "half-copied-jpeg-read": ("pnlib/datasets/images.py", swap('if image.format in ("JPEG", "MPO") and not _has_end(path, image.fp.tell()):', "if False:"), "core/test_odd_images"),
    "bombs-decoded": ("pnlib/datasets/images.py", swap("if image.width * image.height > LARGEST:", "if False:"), "core/test_odd_images"),
    "a-passing-fault-remembered-as-damage": ("pnlib/datasets/images.py", swap("if _is_the_systems(image.__cause__):", "if False:"), "core/test_odd_images"),
    "only-the-first-damaged-named": ("pnlib/datasets/images.py", swap('if others else ""', 'if False else ""'), "core/test_odd_images"),
    "published-though-skipped": ("pnlib/datasets/find.py", swap("is_published = is_published and not skipped", "pass"), "core/test_odd_images"),
    "black-bones-unnoticed": ("pnlib/preprocessing.py", swap("return middle.mean((1, 2, 3)) <", "return middle.mean((1, 2, 3)) < -999 +"), f"{OTHERS}::test_black_bones"),
    "pixels-divided-twice": ("pnlib/preprocessing.py", swap(" or images.dtype != np.uint8:", ":"), "core/test_preprocessing or core/test_classifier"),
    "any-size-predicted": ("pnlib/classifier.py", swap("    if images.shape[1:3] != (SIZE, SIZE):", "    if False:"), "core/test_classifier::test_images_that"),
    "margins-counted": ("pnlib/preprocessing.py", swap("centred = (image - _gaussian_mean(image * inside) / weight) * inside", "centred = image - _gaussian_mean(image)"), "core/test_preprocessing"),
    "exposure-kept": ("pnlib/preprocessing.py", swap("return (image - mean) / np.sqrt(variance + np.float32(1e-4)) * 0.25 + 0.5", "return (image - mean) + 0.5"), "core/test_preprocessing"),
    "chest-anywhere": ("pnlib/preprocessing.py", swap("if score > best[0]:", "if best[0] < 0:"), "core/test_preprocessing"),
    "validation-images-drawn": ("pnlib/sampling.py", swap('places = np.flatnonzero(rows.part == "train")', "places = np.arange(len(rows))"), "core/test_batches::test_each_image"),
    "chest-for-training-only": ("pnlib/sampling.py", swap("return (step(images[places[start : start + batch_size]]),)", "return (step.normalize(as_float(images[places[start : start + batch_size]])),)"), "core/test_batches or core/test_preprocessing"),
    # batches
    "normalisation-dropped": ("pnlib/sampling.py", swap("x = as_float(pixels[places[order]])", "x = pixels[places[order]].astype(np.float32)"), "core/test_batches"),
    "images-and-labels-apart": ("pnlib/sampling.py", swap("np.tile(targets[order]", "np.tile(targets[order[::-1]]"), "core/test_batches"),
    "no-oversampling": ("pnlib/sampling.py", swap('HALVES = ("oversample", "overlap")', 'HALVES = ("overlap",)'), "core/test_sampling"),
    "class-weights-dropped": ("pnlib/sampling.py", swap('balanced = "balanced" if', 'balanced = None if'), "core/test_sampling"),
    "seed-ignored-by-the-order": ("pnlib/sampling.py", swap("default_rng([config.seed, epoch])", "default_rng([0, epoch])"), "core/test_sampling"),
    "overlap-turned-round": ("pnlib/shortcuts.py", swap("np.where(labels == 1, 1 - scores, scores), 4)", "np.where(labels == 1, scores, 1 - scores), 4)"), "core/test_shortcuts"),
    "misleading-turned-round": ("pnlib/shortcuts.py", swap("ascending=label == 1)", "ascending=label == 0)"), "core/test_shortcuts"),
    "seed-ignored-by-augmentation": ("pnlib/augmentation.py", swap("i] if i else seed)", "i] if i else 0)"), "core/test_augmentation::test_a_preset"),
    "augmentation-out-of-range": ("pnlib/augmentation.py", swap("return changed.clip(0, 1, out=changed)", "return changed + 0.1"), "core/test_augmentation"),
    "contrast-of-zero": ("pnlib/augmentation.py", swap("return ((image - mean) * draw + mean).clip(0, 1)", "return (image * draw).clip(0, 1)"), "core/test_augmentation::test_contrast"),
    "blur-twice-as-wide": ("pnlib/augmentation.py", swap("kernel, x + 1e-6, sigmaY=y + 1e-6", "kernel, 2 * x + 1e-6, sigmaY=2 * y + 1e-6"), "core/test_augmentation::test_a_layer_does"),
    "noise-of-one-strength": ("pnlib/augmentation.py", swap("rng.normal(0, _uniform(layer, rng, n, height, width)[:, None, None], (n, height, width))", "rng.normal(0, layer.factor[1] / 2, (n, height, width))"), "core/test_augmentation::test_noise"),
    # training
    "a-layers-width": ("pnlib/networks/__init__.py", swap("enumerate((32, 64, 128, 128), start=1)", "enumerate((32, 64, 96, 128), start=1)"), "core/test_networks::test_the_baseline"),
    "views-trained-as-one": ("pnlib/networks/__init__.py", swap("if not training:", "if True:"), "core/test_networks::each_view_answers"),
    "dropout-not-resumed": ("pnlib/checkpoint.py", swap("for variable in network.variables}", "for variable in network.weights}"), "core/test_resume::test_an_interrupted"),
    "gradient-of-the-bias-in-bfloat16": ("pnlib/networks/fast.py", swap("return upstream, tf.cast(tf.reduce_sum(tf.cast(upstream, tf.float32), (0, 1, 2)), bias.dtype)", "return upstream, tf.raw_ops.BiasAddGrad(out_backprop=upstream)"), "core/test_fast"),
    "relu-forgotten": ("pnlib/networks/fast.py", swap("return tf.nn.relu(add_bias(pooled, tf.cast(layer.bias, x.dtype)))", "return add_bias(pooled, tf.cast(layer.bias, x.dtype))"), "core/test_fast"),
    "python-at-the-end": ("pnlib/sampling.py", swap("@atexit.register\n", ""), "core/test_batches::test_a_process_may_end"),
    "prevalence-ignored": ("pnlib/inference/calibrated.py", swap(" + logit(prevalence)", ""), "inference/test_page::test_a_calibrated_answer"),
    "heat-of-a-crop-left": ("pnlib/classifier.py", swap("laid = self.preprocessing.uncrop(heats, images)", "laid = heats.sum(1)"), "core/test_classifier::test_heat_of_a_crop"),
    "upload-without-limit": ("pnlib/inference/page.py", swap("len(file) > LARGEST", "False"), "inference/test_page::test_what_cannot"),
    "half-an-external-set": ("pnlib/datasets/external.py", swap("if missing.any():", "if missing.all():"), "core/test_external"),
    "any-picture-answered": ("pnlib/inference/__init__.py", swap("if (objection or inverted) and not force:", "if False:"), "inference/test_predict"),
    "patient-in-the-error": ("pnlib/datasets/dicom.py", swap('raise ValueError(f"its pixels ({_compression(dataset)}) can\'t be decoded") from None', 'raise ValueError(f"{dataset.PatientName} can\'t be decoded") from None'), "core/test_dicom"),
    "bone-black-in-dicom": ("pnlib/datasets/dicom.py", swap("        values = -values\n", "        pass\n"), "core/test_dicom"),
    "average-not-kept": ("pnlib/callbacks.py", swap("found.get(id(weight), weight).numpy()", "weight.numpy()"), "core/test_training::test_the_last_epoch"),
    "last-epoch-not-kept": ("pnlib/callbacks.py", swap('if config.keep == "best" else epoch + 1 == config.epochs:', 'if config.keep == "best" else epoch == 0:'), "core/test_training::test_the_last_epoch"),
    "layers-counted-on": ("pnlib/training.py", swap("    keras.utils.clear_session()\n", ""), "core/test_training or core/test_resume"),
    "grappler-on": ("pnlib/training.py", swap('{"disable_meta_optimizer": True}', "{}"), "core/test_training::test_a_step"),
    "two-trainings-mixed": ("pnlib/training.py", swap('with files.locked(folder, "training"):', "if True:"), "core/test_training::test_of_two"),
    "changed-meanwhile-and-resumed": ("pnlib/checkpoint.py", swap("    if differs:", "    if False:"), CHANGED),
    "a-preset-changed-meanwhile": ("pnlib/checkpoint.py", swap("[name, repr(view[name])] for view", "[name] for view"), CHANGED),
    "another-processor-unsaid": ("pnlib/checkpoint.py", swap('("processor", "onednn")] == [here["processor"], here["onednn"]]:', '("processor", "onednn")] != 0:'), "core/test_resume::test_another_processor"),
    "damaged-state-a-traceback": ("pnlib/checkpoint.py", swap('return json.loads(str(state["history"]))\n    except Exception as error:', 'return json.loads(str(state["history"]))\n    except ValueError as error:'), "core/test_fuzz_files::test_a_mutated_state"),
    "changed-weights-loaded": ("pnlib/classifier.py", swap("if hashlib.sha256(content).hexdigest() != sha256:", "if False:"), "core/test_classifier::test_damaged or core/test_fuzz_files::test_a_mutated_classifier"),
    "preprocessing-forgotten": ("pnlib/classifier.py", swap("evaluation_batches(images, self.config.preprocessing, BATCH)", 'evaluation_batches(images, "none", BATCH)'), "core/test_classifier::test_a_loaded_run"),
    # data at the door
    "no-test-images-unsaid": ("pnlib/datasets/find.py", swap('if split == "test" and rows.empty:', "if False:"), "core/test_find_dataset::test_without_test"),
    "a-row-twice-in-a-table": ("pnlib/datasets/from_csv.py", swap("elif paths.setdefault(path, line) != line:", "elif False:"), "core/test_find_dataset::test_the_first_bad_row"),
    "a-patient-on-both-sides-of-a-table": ("pnlib/datasets/from_csv.py", swap('elif patient and part != "val" and', "elif False and"), "core/test_find_dataset::test_the_first_bad_row"),
    "a-name-leads-out": ("pnlib/datasets/unpack.py", swap('if path.anchor or ".." in path.parts or is_link:', "if is_link:"), f"{DOOR}::test_an_archive_that_is_none"),
    "bombs-unpacked": ("pnlib/datasets/unpack.py", swap("if total > LARGEST or len(members) > MOST:", "if False:"), f"{DOOR}::test_an_archive_that_is_none"),
    "pickles-unpacked": ("pnlib/datasets/unpack.py", swap("allow_pickle=False", "allow_pickle=True"), f"{DOOR}::test_other_arrays"),
    "unpacked-unseen": ("pnlib/datasets/download.py", swap("    index(unpacked)\n", ""), f"{DOOR}::test_an_archive_that_is_none"),
    "wrong-bytes-unpacked": ("pnlib/datasets/fetch.py", swap("if digest != sha256:", "if False:"), f"{DOOR}::test_what_does_not_pass"),
    "all-asked-for-again": ("pnlib/datasets/fetch.py", swap("if have else {})", "if not have else {})"), f"{DOOR}::test_a_download_survives"),
    "another-part-appended": ("pnlib/datasets/fetch.py", swap('if part and not answer.headers.get("Content-Range", "").startswith(f"bytes {have}-"):', "if False:"), f"{DOOR}::test_a_download_survives"),
    "no-wait-though-asked": ("pnlib/datasets/fetch.py", swap("return float(asked)", "return 0"), f"{DOOR}::test_a_server_that_asks"),
    "half-a-download-thrown-away": ("pnlib/datasets/download.py", swap('keep = (partial / "archive").exists() and not place.exists()', "keep = False"), f"{DOOR}::test_an_interrupted"),
    "the-doctor-never-worries": ("pnlib/runner/doctor.py", swap("return 1 if problems else 0", "return 0"), "runner/test_doctor"),
    # files
    "half-written-files": ("pnlib/base/files.py", both(swap('path.with_name(f".{path.name}.{secrets.token_hex(4)}")', "path"), swap('open("xb")', 'open("wb")')), "runner/test_faults_files::test_a_file_is or runner/test_files"),
    "content-not-on-the-disk": ("pnlib/base/files.py", swap("os.fsync(file.fileno())", "pass"), ON_DISK),
    "name-not-on-the-disk": ("pnlib/base/files.py", swap("            raise\n        fsync_dir(path.parent)", "            raise"), ON_DISK),
    "folder-not-on-the-disk": ("pnlib/base/files.py", swap("        partial.rename(final)\n        fsync_dir(final.parent)", "        partial.rename(final)"), ON_DISK),
    "written-away-from-a-clone": ("pnlib/base/paths.py", swap("if project() is None and not os.environ.get(variable):", "if False:"), "runner/test_other_peoples_machines::test_away"),
    "another-project-taken-for-it": ("pnlib/base/paths.py", swap("'\\nname = \"pnlib\"\\n' in", "'' in"), "runner/test_other_peoples_machines::test_away"),
    "keras-on-anything": ("pnlib/base/machine.py", swap('    os.environ["KERAS_BACKEND"] = "tensorflow"', '    os.environ.setdefault("KERAS_BACKEND", "tensorflow")'), "runner/test_other_peoples_machines::test_keras"),
    "anybodys-kernel": ("pnlib/runner/notebooks.py", swap("with this_python(), _kept", "with _kept"), "runner/test_other_peoples_machines::test_a_notebook_runs"),
    "no-pictures-on-a-cluster": ("pnlib/base/machine.py", swap('select_figure_formats(shell, {"png"})', "pass"), "runner/test_other_peoples_machines::test_a_notebook_runs"),
    # commands
    "sigterm-not-passed-on": ("pnlib/runner/cli.py", swap("with ended_by_signals():", "if True:"), "runner/test_signals::test_a_signal"),
    "two-runs-mixed": ("pnlib/runner/commands.py", swap('with files.locked(paths.run_dir(options.name), "executing notebooks"):', "if True:"), KILLED_RUN),
    "killed-notebook-left": ("pnlib/runner/notebooks.py", swap("running.unlink(missing_ok=True)", "pass"), KILLED_RUN),
    "settings-lost": ("pnlib/runner/notebooks.py", swap('if "settings" in own and others else {}', "if False else {}"), "runner/test_notebooks_runner"),
    "braces-in-a-path": ("pnlib/runner/notebooks.py", swap('.replace("{", "{{").replace("}", "}}")', ""), "runner/test_faults_files::test_odd or runner/test_notebooks_runner"),
    # numbers
    "threshold-excluded": ("pnlib/evaluation.py", swap("np.count_nonzero(thresholds >= threshold)", "np.count_nonzero(thresholds > threshold)"), "core/test_evaluation::test_ties"),
    "bootstrap-over-images": ("pnlib/evaluation.py", swap("np.unique(patients, return_inverse=True)", "np.unique(np.arange(len(labels)), return_inverse=True)"), "core/test_evaluation::test_the_bootstrap"),
    "nan-accepted": ("pnlib/evaluation.py", swap("if not ((probabilities >= 0) & (probabilities <= 1)).all():", "if ((probabilities < 0) | (probabilities > 1)).any():"), "core/test_evaluation::test_unusable"),
    "threshold-on-a-probability": ("pnlib/evaluation.py", swap("return float(max(halfway, np.nextafter(below.max(), 2)))", "return float(halfway)"), "core/test_evaluation or core/test_fuzz::test_no_threshold"),
    "claims-always-hold": ("pnlib/claims.py", swap("return math.isfinite(measured) and", "return True or"), "core/test_evaluation::test_claims"),
    "a-claims-tolerance": ("pnlib/stated.json", lambda text: re.sub(r'("test accuracy": \{[^}]*"tolerance": ")[^"]*', r"\g<1>0.30", text), "project/test_project::test_claims_fail"),
    "stress-with-six-digits": ("pnlib/stress.py", swap('float_format="%.9g"', 'float_format="%.6f"'), "studies/test_criterion"),
    "criterion-over-images": ("pnlib/studies/criterion.py", swap("np.unique(stressed.patient.to_numpy(), return_inverse=True)", "np.unique(np.arange(len(stressed)), return_inverse=True)"), "studies/test_criterion"),
    "difference-turned-round": ("pnlib/review/comparison.py", lambda text: re.sub(r"(drawn = metric_replicates\()second(.*?metric_replicates\()first", r"\1first\2second", text, flags=re.S), "review/test_comparison"),
    "figure-left-empty": ("pnlib/plots.py", swap("axis.imshow(image.squeeze(),", "(lambda *a, **k: None)(image.squeeze(),"), "core/test_plots"),
    # studies
    "trial-key-without-settings": ("pnlib/studies/grid.py", swap('{"settings": config.to_json(), "data"', '{"data"'), "studies/test_grid"),
    "trial-not-on-the-disk": ("pnlib/studies/cluster.py", swap("files.fsync_dir(final.parent)", "pass"), ON_DISK),
    "gains-over-another-seed": ("pnlib/studies/table.py", swap("first.get(seed)", "next(iter(first.values()), None)"), "studies/test_table"),
    "images-of-the-clients-folder-alone": ("pnlib/studies/cluster.py", swap('folder if Path(folder).exists() else "demo" if expected["is_demo"] else ""', "folder"), "studies/test_cluster::test_a_worker_without"),
    "dashboard-open-to-all": ("pnlib/studies/cluster.py", swap('dashboard_address="127.0.0.1:0"', 'dashboard_address="0.0.0.0:0"'), "project/test_security::test_a_study_listens"),
    # what others wrote
    "pickles-in-the-cache": ("pnlib/datasets/images.py", swap('mapped = np.lib.format.open_memmap(cached, mode="c")', "mapped = np.load(cached, allow_pickle=True)"), "project/test_security::test_a_pickle_in_the_cache"),
    "weights-file-unchecked": ("pnlib/networks/imagenet.py", swap("if hashlib.sha256(content).hexdigest() != SHA256:", "if False:"), "core/test_networks::never_opened"),
    "kernels-turned": ("pnlib/networks/imagenet.py", swap("else (2, 3, 1, 0))", "else (3, 2, 1, 0))"), "core/test_networks::still_name"),
    "core-imports-the-command-line": ("pnlib/plots.py", swap("import numpy as np\n", "import numpy as np\n\nimport pnlib.runner.signals  # noqa: F401\n"), "core/test_imports"),
    # what is stated
    "a-result-in-the-readme": ("README.md", lambda text: re.sub(r"(\| `compact`.* stored \| \*\*)0\.9", r"\g<1>0.8", text), "project/test_project::test_the_tables"),
    "a-result-in-a-card": ("models/reference/baseline/README.md", lambda text: re.sub(r"(\| accuracy \| )0\.\d+", r"\g<1>0.999", text), "notebooks/test_prose"),
    "a-number-in-prose": ("notebooks/04_train.ipynb", cells(invent_number), "notebooks/test_prose"),
    "a-measured-value-in-prose": ("notebooks/03_model.ipynb", cells(change_measured_value), "notebooks/test_prose"),
    "outputs-stripped": ("notebooks/03_model.ipynb", cells(strip_outputs), "notebooks/test_notebooks"),
    "executed-out-of-order": ("notebooks/02_augment.ipynb", cells(swap_counts), "notebooks/test_notebooks"),
    "a-path-left-behind": ("notebooks/01_explore.ipynb", cells(leave_path), "notebooks/test_notebooks"),
    "pictures-without-curves-pass": ("tests/notebooks/nbval_pictures.py", swap("if not 1 / INK <= inks[1] / inks[0] <= INK:", "if False:"), "notebooks/test_notebooks::test_a_measured_picture"),
}  # fmt: skip

QUICK = {"notebooks/test_notebooks": ["-k", "committed or exempt or parts or unanswered"]}  # what needs no execution


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
    """Pytest's arguments for `file`, `file::part` or several of these with " or " between them."""
    several = [one.partition("::") for one in tests.split(" or ")]
    words = [part for _, _, part in several if part]
    selected = [f"tests/{file}.py" for file, _, _ in several]
    return [*selected, *(["-k", " or ".join(words)] if words else QUICK.get(tests, []))]


def run(copy: Path, selection: list[str]):
    environment = {k: v for k, v in os.environ.items() if k != "PNLIB_DATA"} | {"PYTHONPATH": str(copy)}
    line = [sys.executable, "-m", "pytest", "-q", "-x", "--tb=line", *selection]
    return subprocess.run(line, cwd=copy, env=environment, capture_output=True, text=True)


def write(rows) -> None:
    lines = [
        "# Mutants: does the suite bite?",
        "",
        "`python tests/project/mutants.py` damages a copy of the project in one way at a time (each change stands there) and demands that a test",
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
