"""Coverage-guided fuzzing of what reads a stranger's bytes. Needs the extra `fuzz` (atheris; Linux).

python -m lab.fuzz.run --seconds 480        all targets, one after the other; a table
python -m lab.fuzz.run --target tar         one
"""
