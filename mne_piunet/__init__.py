"""A learned inverse solution, 3D-PIUNet: not released yet."""
