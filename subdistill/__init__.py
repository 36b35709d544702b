"""Distillation of the relevant subspace of a teacher's layers: not released yet."""
