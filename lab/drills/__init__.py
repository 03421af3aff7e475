"""Drills: break real processes on the embedded stack and look whether the service keeps its promises."""
