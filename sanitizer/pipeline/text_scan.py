"""Scans a text tower for words that control it, from files to files.

    checkpoint, labelled ─▶ class means ─▶ triggers ─────────────────────────▶ report
                                        └▶ every token ─▶ the first of them ─┘

Nothing is kept between attempts: a scan that is stopped starts again.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import torch
from torch import Tensor
from torch.nn.functional import normalize

from cleanclip.kinds.facts import Data, Facts
from cleanclip.kinds.kind import SUSPECT
from cleanclip.kinds.text_scan import LABELLED, TextScanSpec, check, few_classes
from cleanclip.vocabulary.anchors import Model
from cleanclip.vocabulary.clip_text import as_clip_reads
from cleanclip.vocabulary.clip_tokens import NUM_TOKENS
from cleanclip.vocabulary.errors import DatasetRejected, Interrupted, OptionsRejected
from cleanclip.vocabulary.jobspec import REPORT_NAME
from cleanclip.vocabulary.progress import Advanced, PhaseFinished, PhaseStarted
from cleanclip.vocabulary.report_inputs import DataInput
from cleanclip.vocabulary.report_kinds import dump_plain
from cleanclip.vocabulary.text_scan_options import MIN_CLASSES, MIN_TEXTS
from cleanclip.vocabulary.text_scan_report import (
    NUM_FOUND,
    NUM_NAMED,
    NUM_NAMED_FINE,
    Led,
    LedByToken,
    TextScanReport,
    class_tokens,
)
from sanitizer.audits.measuring import measuring
from sanitizer.audits.zero_shot import image_embeddings, text_embeddings
from sanitizer.checkpoints.model import LoadedCheckpoint, load_canonical
from sanitizer.data.labelled import LabelledDataset, open_labelled
from sanitizer.data.pixels import normalise, to_model_pixels
from sanitizer.data.skipping import Skipped, good_ones
from sanitizer.data.templates import IMAGENET_80, render
from sanitizer.pipeline import reporting
from sanitizer.pipeline.places import Places
from sanitizer.run import Run
from sanitizer.scans import inserted_words as words
from sanitizer.scans.inserted_words import Effects, Texts
from sanitizer.seeding import generator
from sanitizer.training.device import share_cores

PHASE = "text_scan"
IMAGES_AT_ONCE = 128


def text_scan(places: Places, spec: TextScanSpec, run: Run) -> TextScanReport:
    """Measure the triggers and search the vocabulary; report.json in `places.out`.

    Raises CheckpointRejected, DatasetRejected, OptionsRejected, Interrupted.
    """
    suspect, labelled = load_canonical(places.checkpoint), open_labelled(places.data)
    models = {
        SUSPECT.column: Model(weights_sha256=suspect.weights_sha256, config=suspect.architecture.to_config())
    }
    data = {LABELLED.column: Data(class_names=labelled.class_names)}
    for refusal in check(Facts(options=spec.text_scan, models=models, data=data)):
        raise refusal
    share_cores(suspect.model, run.device)
    with measuring(suspect, run.device):
        report = _Scan(suspect, labelled, spec, run).report()
    places.out.mkdir(parents=True, exist_ok=True)
    (places.out / REPORT_NAME).write_bytes(dump_plain(report))
    return report


@dataclass(frozen=True)
class _ClassMeans:
    """C classes that have an image. `mean_CD`: unit length; `number_C`: their numbers in the dataset."""

    mean_CD: Tensor
    number_C: tuple[int, ...]
    num_images: int
    skipped: tuple[Skipped, ...]


class _Scan:
    """One scan. The model is on its device, in eval mode, and no gradient is kept."""

    def __init__(
        self, suspect: LoadedCheckpoint, labelled: LabelledDataset, spec: TextScanSpec, run: Run
    ) -> None:
        self._suspect, self._labelled, self._spec, self._run = suspect, labelled, spec, run
        self._options = spec.text_scan
        self._templates = labelled.templates or IMAGENET_80
        self._num_done = self._num_planned = 0

    def report(self) -> TextScanReport:
        triggers = [self._tokens_of_trigger(one) for one in self._options.trigger_words]
        room = max([1, *(sum(map(len, trigger)) for trigger in triggers)])
        if room + len(("start", "a word", "end")) > self._suspect.architecture.context_length:
            raise OptionsRejected(
                "text_scan_trigger_too_long",
                f"A trigger has {room} tokens, and a text of this model at most "
                f"{self._suspect.architecture.context_length}, with its start and its end.",
                "Name fewer words in one trigger.",
                where="text_scan.trigger_words",
            )
        means = self._class_means()
        few, many = self._texts(means, room)
        names = class_tokens(self._labelled.class_names, self._options.known_words)
        num_named = min(NUM_NAMED_FINE, len(names))
        num_tokens = NUM_TOKENS * few.num + (self._options.num_fine + num_named) * many.num
        num_searched = num_tokens if self._options.search else 0
        self._num_planned = many.num * (1 + len(triggers)) + num_searched
        self._run.progress(PhaseStarted(phase=PHASE, total=self._num_planned, unit="samples"))
        predicted_K = words.classes_of(self._embed(many.with_words([])[0]), means.mean_CD)
        self._after(many.num)
        led = [self._effects(many, [one[None] for one in trigger], means) for trigger in triggers]
        found, named = self._searched(few, many, means, names) if self._options.search else ([], [])
        self._run.progress(PhaseFinished(phase=PHASE))
        return TextScanReport(
            created_at=datetime.now(UTC),
            seed=self._spec.seed,
            checkpoint=reporting.checkpoint_input(self._suspect, self._spec.upload_sha256),
            data=(self._data_input(means.skipped),),
            options=self._options,
            class_names=self._labelled.class_names,
            num_images=means.num_images,
            num_classes=len(means.number_C),
            text_classes=tuple(means.number_C[one] for one in many.label_K.tolist()),
            text_predictions=tuple(means.number_C[one] for one in predicted_K.tolist()),
            triggers=tuple(_led(one, 0, means) for one in led),
            found=tuple(found[:NUM_FOUND]),
            named=tuple(named[:NUM_NAMED]),
            environment=reporting.environment(self._run.device, "fp32"),
        )

    def _tokens_of_trigger(self, trigger: str) -> list[Tensor]:
        """Of each word its tokens, [I]. Raises OptionsRejected."""
        found = []
        for word in as_clip_reads(trigger).split():
            token_L = self._suspect.tokenize([word])[0]
            token_I = token_L[1 : int(token_L.argmax())]
            if not len(token_I):
                raise OptionsRejected(
                    "text_scan_no_token",
                    f"CLIP's tokenizer has no token for '{word[:40]}'.",
                    "Name a word that can be read.",
                    where="text_scan.trigger_words",
                )
            found.append(token_I)
        return found

    def _class_means(self) -> _ClassMeans:
        """Of images drawn by the seed. Raises OptionsRejected `text_scan_too_few_classes`."""
        labelled, architecture = self._labelled, self._suspect.architecture
        order = map(int, generator(self._spec.seed, "text_scan_images").permutation(len(labelled)))
        skipped: list[Skipped] = []
        good = good_ones(labelled, order, skipped)
        sum_of: dict[int, Tensor] = {}
        num_images = 0
        while num_images < self._options.num_images:
            wanted = min(IMAGES_AT_ONCE, self._options.num_images - num_images)
            batch = [sample for (_, sample), _ in zip(good, range(wanted), strict=False)]
            if not batch:
                break
            self._check_stop()
            pixels = torch.stack([to_model_pixels(one.image, architecture.image_size) for one in batch])
            image_NCHW = normalise(
                pixels.to(self._run.device), architecture.image_mean, architecture.image_std
            )
            image_ND = normalize(image_embeddings(self._suspect, image_NCHW), dim=-1)
            for one, image_D in zip(batch, image_ND, strict=True):
                sum_of[one.label] = sum_of[one.label] + image_D if one.label in sum_of else image_D
            num_images += len(batch)
        numbers = tuple(sorted(sum_of))
        if len(numbers) < MIN_CLASSES:
            raise few_classes(f"The {num_images} images are of {len(numbers)} classes.")
        mean_CD = normalize(torch.stack([sum_of[number] for number in numbers]), dim=-1)
        return _ClassMeans(mean_CD, numbers, num_images, tuple(skipped))

    def _texts(self, means: _ClassMeans, room: int) -> tuple[Texts, Texts]:
        """Raises DatasetRejected `text_scan_too_few_texts`."""
        names, length = self._labelled.class_names, self._suspect.architecture.context_length

        def tokenize(pairs: Sequence[tuple[int, int]]) -> Tensor:
            texts = [render(self._templates[one], names[means.number_C[label]]) for label, one in pairs]
            return _shortened(self._suspect.tokenize(texts), length - room)

        sizes = (self._options.num_screen_texts, self._options.num_texts)
        few, many = words.draw_texts(
            tokenize, len(means.number_C), len(self._templates), sizes, self._spec.seed
        )
        if few.num < sizes[0] or many.num < MIN_TEXTS:
            raise DatasetRejected(
                "text_scan_too_few_texts",
                f"{len(means.number_C)} classes in {len(self._templates)} templates make "
                f"{few.num + many.num} texts; {sizes[0]} to screen with and {MIN_TEXTS} others are needed.",
                "Give the labelled dataset more templates or more classes.",
                where=LABELLED.column,
            )
        return few, many

    def _searched(
        self, few: Texts, many: Texts, means: _ClassMeans, names: frozenset[int]
    ) -> tuple[list[LedByToken], list[LedByToken]]:
        """Tokens that are in no class name, and those that are in one; the largest share first."""
        screened = self._effects(few, [words.all_tokens()], means)
        most = (self._options.num_fine, NUM_NAMED_FINE)
        tokens = list(words.first_of(words.screening_order(screened), names, most))
        fine = self._effects(many, [torch.tensor(tokens)[:, None]], means)
        order = sorted(range(len(tokens)), key=lambda at: (-float(fine.share_S[at]), tokens[at]))
        led = [LedByToken(token=tokens[at], **vars(_led(fine, at, means))) for at in order]
        return [one for one in led if one.token not in names], [one for one in led if one.token in names]

    def _effects(self, texts: Texts, word_SI_of: Sequence[Tensor], means: _ClassMeans) -> Effects:
        return words.effects(self._embed, texts, word_SI_of, means.mean_CD, self._after)

    @property
    def _embed(self) -> Callable[[Tensor], Tensor]:
        length, device = self._suspect.architecture.context_length, self._run.device

        def embed(token_NL: Tensor) -> Tensor:
            padded_NL = torch.nn.functional.pad(token_NL, (0, length - token_NL.shape[1]))
            return text_embeddings(self._suspect, padded_NL, device)

        return embed

    def _after(self, num_texts: int) -> None:
        self._check_stop()
        self._num_done += num_texts
        self._run.progress(Advanced(phase=PHASE, done=self._num_done, total=self._num_planned))

    def _check_stop(self) -> None:
        if self._run.stop():
            raise Interrupted("stopped", "The text scan was stopped.", "Run it again; it starts again.")

    def _data_input(self, skipped: Sequence[Skipped]) -> DataInput:
        return DataInput(
            kind="labelled",
            sha256=self._labelled.files_sha256,
            num_samples=len(self._labelled),
            num_skipped=len(skipped),
            num_classes=len(self._labelled.class_names),
            skipped_examples=tuple(one.example for one in skipped[:10]),
        )


def _shortened(token_NL: Tensor, length: int) -> Tensor:
    """[N, length]: longer texts are cut, their end is kept."""
    end_N1 = token_NL.max(dim=1, keepdim=True).values
    cut_NL = token_NL[:, :length].clone()
    is_cut_N = token_NL.argmax(dim=1) >= length
    cut_NL[is_cut_N, -1] = end_N1[is_cut_N, 0]
    return cut_NL


def _led(effects: Effects, at: int, means: _ClassMeans) -> Led:
    return Led(towards=means.number_C[int(effects.towards_S[at])], num_led=int(effects.num_led_S[at]))
