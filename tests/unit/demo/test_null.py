"""The null that ships with the demo fits what the demo scans: another digest, and there is no p-value."""

from pathlib import Path

import pytest

from cleanclip.vocabulary.null_set import NullSet, ScanToJudge, differences, dump_null, load_null
from demo import labelled
from demo.recipe import NULL_PATH, POISONING, SCAN, SCAN_SEED
from lab.testbed.glyphs import digits
from lab.testbed.pictures import class_names
from lab.testbed.training import model_config
from lab.zoo import demo_null
from lab.zoo.plan import model
from sanitizer.checkpoints.architecture import Architecture
from sanitizer.data.labelled import open_labelled


@pytest.fixture(scope="module")
def null() -> NullSet:
    return load_null(NULL_PATH.read_bytes())


def test_it_fits_a_scan_of_the_demo(null: NullSet, tmp_path: Path) -> None:
    labelled.write(tmp_path)
    architecture = Architecture.from_config({"model_cfg": model_config(POISONING), "preprocess_cfg": {}})
    scan = ScanToJudge(
        architecture=architecture.to_config(),
        class_names=class_names(digits()),
        images_sha256=open_labelled(tmp_path).sha256,
        options=SCAN,
        seed=SCAN_SEED,
    )
    assert list(differences(null, scan)) == []


def test_it_is_written_as_it_is_read(null: NullSet) -> None:
    assert dump_null(null) == NULL_PATH.read_bytes()


def test_it_names_the_zoos_first_clean_models_which_are_trained_as_the_demos(null: NullSet) -> None:
    models = [model("calibration", demo_null.BED, number) for number in range(demo_null.NUM_MODELS)]
    assert [one.source for one in null.models] == [one.name for one in models]
    assert "None was poisoned." in null.about
    assert 1 / (len(null.models) + 1) < SCAN.significance
    trained = {(one.options.epochs, one.options.batch_size, one.options.num_pairs) for one in models}
    assert trained == {(POISONING.epochs, POISONING.batch_size, POISONING.num_pairs)}


def test_it_is_not_built_before_all_models_are_made(tmp_path: Path) -> None:
    out = tmp_path / "null.json"
    assert not demo_null.update(tmp_path, tmp_path, out)
    assert not out.exists()
