"""The small CLIP and its labelled set, written once and opened again for every test."""

from pathlib import Path

import pytest

from sanitizer.checkpoints.model import LoadedCheckpoint, load_canonical
from sanitizer.data.labelled import LabelledDataset, open_labelled
from tests.fixtures.audited import write_labelled, write_model


@pytest.fixture(scope="session")
def model_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_model(tmp_path_factory.mktemp("canonical"))


@pytest.fixture
def checkpoint(model_folder: Path) -> LoadedCheckpoint:
    return load_canonical(model_folder)


@pytest.fixture(scope="session")
def labelled_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_labelled(tmp_path_factory.mktemp("labelled"))


@pytest.fixture
def labelled(labelled_folder: Path) -> LabelledDataset:
    return open_labelled(labelled_folder)
