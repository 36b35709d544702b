"""Distillation of what a subtask needs of a teacher, for any model of torch.

``distill``
    The engine, on Lightning Fabric: ``from subdistill.distill import Recipe, distill``.
``capture``, ``relevance``, ``subspace``
    Outputs and gradients of layers, their moments in one pass, and the subspaces that matter.
``objectives``, ``adapter``, ``pairing``
    What a student is asked to imitate, and in which layers.
``evaluate``, ``explain``, ``export``
    Accuracy, reasons, and files for other programs.
``vision``, ``subtask``
    Classifiers of images, and some of their classes.
"""
