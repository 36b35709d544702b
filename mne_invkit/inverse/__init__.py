"""From MNE objects to one linear inverse problem in arrays, and back."""
