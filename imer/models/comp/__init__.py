"""ComP: cross-modal prompting for incomplete multi-modal emotion recognition, one idea a file.

encoder → (prompts from prototypes → propagation by attention) × blocks → coordinator → head; the regulator acts on
the gradient of the prototypes. Every step treats all modalities at once: tensors carry M as their first axis.
"""
