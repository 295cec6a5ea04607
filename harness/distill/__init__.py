"""Distillation methods, one file each: the training split to small images, exactly IPC per class. `registry.py` names them."""
