"""Classifiers of images: models, images and classes by name, and a command."""
