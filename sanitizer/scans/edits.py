"""D5, edits: does a known change of an image lead many images to one class? Forward passes only.

For each edit e of the bank (`sanitizer.scans.image_edits`) and N held-out images x

    rise(e)  =  max over classes c of  1/N (#{i : class of x_i ⊕ e is c} − #{i : class of x_i is c})

Without class names it is the rise of ‖ 1/N Σ_i f(x_i ⊕ e) ‖². Inversion finds small patterns; it does not
find a trigger that changes every pixel much, such as a wave, a tint or paper of a colour, of which an auditor
can think without seeing the model. Strong edits lead many images of any model to some class: only models that
were never poisoned say how many is usual, edit by edit.
"""

import torch
from torch import Tensor

from cleanclip.vocabulary.image_edits import Edit, bank
from cleanclip.vocabulary.scan_options import EditsDetectorOptions
from cleanclip.vocabulary.scan_statistics import EditRise, EditsFigures
from sanitizer.scans import image_edits
from sanitizer.scans.subject import Subject, squared_mean


def detect(subject: Subject, options: EditsDetectorOptions) -> EditsFigures:
    """Every edit of the bank but "none", in its order. Deterministic."""
    num = min(options.held_out_images, len(subject.held_NCHW))
    clean_ND = subject.clean_embeddings[:num]
    return EditsFigures(
        n=num, edits=tuple(_rise(subject, edit, clean_ND, _edited(subject, edit, num)) for edit in bank()[1:])
    )


def _rise(subject: Subject, edit: Edit, clean_ND: Tensor, edited_ND: Tensor) -> EditRise:
    if subject.class_CD is None:
        return EditRise(edit=edit, rise=squared_mean(edited_ND) - squared_mean(clean_ND))
    clean_C, edited_C = (
        subject.classes_of(embedding_ND).bincount(minlength=subject.num_classes)
        for embedding_ND in (clean_ND, edited_ND)
    )
    more_C = edited_C - clean_C
    towards = int(more_C.argmax())
    return EditRise(edit=edit, rise=int(more_C[towards]) / len(clean_ND), towards=towards)


def _edited(subject: Subject, edit: Edit, num: int) -> Tensor:
    """[N, D]: embeddings of the first held-out images with the edit."""
    parts = []
    with torch.no_grad():
        for pixels in subject.held_pixels(num):
            parts.append(subject.embed(image_edits.apply(edit, pixels)))
            subject.meter.forward(len(pixels))
    return torch.cat(parts)
