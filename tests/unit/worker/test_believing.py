"""A child that was taken over by what it read, one lie at a time: nothing of its files is believed then."""

from __future__ import annotations

import hashlib
import json
import pickle
import resource
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from sanitizer.jobspec import SPEC_ADAPTER, AuditSpec, InspectSpec, SanitizeSpec, ValidateSpec
from sanitizer.report import CheckpointInput
from sanitizer.recipe import DeclaredOptions
from tests.fixtures.evidence import edit_json
from tests.integration.worker.stand_in_child import (
    ARCHITECTURE,
    canonical_files,
    cleaned_config,
    config,
    files_of,
    inspection,
    report_of,
    weights,
    write_outputs,
)
from worker.accepting import believe_config, believe_dataset, believe_inspection
from worker.believing import Known, believe_cleaned_config, believe_report
from worker.failures import AttemptFailed
from worker.weights import check_weights, read_tensors
