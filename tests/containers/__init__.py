"""Trials of the images and of docker-compose.yml on a real container engine; not part of the test run."""
