"""How we measure ourselves: drills, benchmarks, fuzzing, reproduction, test subjects. Not shipped."""
