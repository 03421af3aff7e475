"""The rows of the study of SigLIPs, whose code left the lab."""

from tools.reference.siglip import disagreements, rows


def test_the_rows_are_of_the_named_models_and_both_counts_are_of_the_same_images() -> None:
    assert [row["model"] for row in rows()] == [f"held_out-badnet-{seed}" for seed in (1, 2, 3)]
    for row in rows():
        assert row["attack"]["pattern_seed"] == row["seed"], "each has a trigger of its own"
        assert row["recommended_from"], "the recipe is the recommended one"
        assert disagreements(row) == {}
