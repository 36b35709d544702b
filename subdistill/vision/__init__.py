"""Distillation of image classifiers: models, images and classes by name, and a command."""
