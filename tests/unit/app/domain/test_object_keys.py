"""Object keys: chosen by the server, always with the project, never a place of somebody else's choice."""

import pytest

from app.domain import object_keys


def test_every_key_contains_the_project_and_prefixes_end_with_a_slash() -> None:
    prefixes = [
        object_keys.checkpoint_prefix("prj_a", "ckpt_b"),
        object_keys.checkpoint_attempt_prefix("prj_a", "ckpt_b", 2),
        object_keys.outputs_prefix("prj_a", "job_b"),
        object_keys.output_attempt_prefix("prj_a", "job_b", 2),
        object_keys.states_prefix("prj_a", "job_b"),
        object_keys.state_prefix("prj_a", "job_b", 2, 400),
    ]
    for prefix in prefixes:
        assert "/prj_a/" in prefix
        assert prefix.endswith("/")
    assert object_keys.upload_key("prj_a", "upl_b") == "uploads/prj_a/upl_b"
    assert prefixes[-1] == "states/prj_a/job_b/attempt-2/step-00000400/"


def test_no_attempts_prefix_is_the_beginning_of_anothers() -> None:
    first = object_keys.output_attempt_prefix("p", "j", 1)
    tenth = object_keys.output_attempt_prefix("p", "j", 10)
    assert not tenth.startswith(first)


@pytest.mark.parametrize("name", ["../x", "a/b", "", ".hidden", "a\0b", "a\nb", "ü.txt", "a" * 129, ".."])
def test_a_name_that_is_more_than_a_file_name_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="plain file name"):
        object_keys.in_prefix("outputs/p/j/attempt-1/", name)


def test_a_plain_name_is_taken_as_it_is() -> None:
    assert object_keys.in_prefix("outputs/p/", "model.safetensors") == "outputs/p/model.safetensors"
