"""A loaded model looks at a clip once and is asked many times.

model = load("mini")
seen = model.look("band.mp4")
seen.ask("Which instrument sounds first?").answer.text
seen.ask(task="ave").events
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any

from crab_core.engine.checks import check_able, in_words, probe_for, require, task_of
from crab_core.engine.choosing import answer_by_choosing
from crab_core.engine.consistency import Scale, contradictions
from crab_core.engine.drawing import check_source, masker_for
from crab_core.engine.memory import check_fits, limit_gpu, memory_told, parse_bytes
from crab_core.engine.merging import united
from crab_core.engine.moments import answer_at_moments
from crab_core.engine.notes import notes_of
from crab_core.engine.stopwatch import Stopwatch
from crab_core.engine.where import check_where, with_boxes
from crab_core.engine.windows import answer_in_windows, windows_for
from crab_core.errors import ModelError
from crab_core.families._base import RememberingNetwork, SharingNetwork
from crab_core.progress import Listener, Note, Progress, ignore
from crab_core.types import Canvas, Clip, Decoding, Prompt, Request, Result, View

if TYPE_CHECKING:
    from crab_core.engine.heads import HeadOptions
    from crab_core.engine.heads_report import HeadReport
    from crab_core.engine.merging import Window
    from crab_core.families._base import Encoded, Family, Generated, Masker, Network, OnText, Precision
    from crab_core.media import Probe
    from crab_core.tasks._base import Task
    from crab_core.weights.folder import Header

DEFAULT_MODEL = "mini"
KEPT_VIEWS = 8  # of a clip, with their encodings


def load(
    name_or_folder: str | Path = DEFAULT_MODEL,
    *,
    device: str = "auto",
    dtype: str = "auto",
    quantize: str = "none",
    max_memory: str | None = None,
    masks: str = "auto",
    sam2: str | Path | None = None,
    draws: bool = False,
    compiled: bool = False,
    on_progress: Listener = ignore,
) -> Model:
    """The model of a catalogue name or of a model folder, ready to be asked.

    `max_memory`, such as `6GiB`, is what the model may take at most; a GPU is held to it. `masks` says who draws them:
    the network's `own` decoder, `sam2` from the boxes that the model tells, or `auto`. `sam2` is a
    folder of SAM 2; without it that in the model's folder is used, or the one that was pulled. `draws`
    says that masks will be asked for, so that what draws them must fit into memory too.
    `compiled` makes the step that writes a token once, which takes a while and then saves time on each.
    Raises UsageError for unknown devices, dtypes and quantisations, ModelError if the model is unknown or damaged,
    ResourceError if the device is not there or the model does not fit into its memory.
    """
    from crab_core.engine.device import check_names, choose
    from crab_core.engine.resolve import folder_of
    from crab_core.weights.folder import check_files, read_header

    began = time.perf_counter()
    check_names(device, dtype, quantize)
    most = None if max_memory is None else parse_bytes(max_memory)
    folder = folder_of(name_or_folder)
    header = read_header(folder)
    check_files(folder, header)  # damage is told before torch is imported
    on_progress(Progress("load", 0, 1, "models", header.name))
    family = _family_of(header)
    _check_profile(header)
    backend = choose(device, dtype, header.quantized if quantize == "none" else quantize, compiled=compiled)
    if backend.precision.quantize != "none" and backend.precision.device == "cpu":
        on_progress(Note(f"{backend.precision.quantize} on a CPU saves memory, not time", seen=True))
    masker = masker_for(header, folder, masks, sam2, backend.precision)
    is_drawing = draws or check_source(masks, sam2) == "sam2"
    check_fits(folder, backend.precision, family, most, masker=masker if is_drawing else None)
    limit_gpu(backend.precision.device, most)
    with memory_told(f"loading the model '{header.name}'"):
        network = family.load(folder, backend.precision)
    on_progress(Progress("load", 1, 1, "models", header.name))
    on_progress(Note(f"model '{header.name}' on {backend.why}"))
    return Model(header.name, header, network, backend.precision, backend.why, time.perf_counter() - began, masker)


@dataclass(frozen=True)
class Model:
    """A network with its header; `why` says how its device and dtype were chosen, `load_s` how long loading took.

    `masker` draws masks of the places that the network tells; None where the network draws them itself.
    """

    name: str
    header: Header
    network: Network
    precision: Precision
    why: str
    load_s: float = 0.0
    masker: Masker | None = None

    @property
    def is_exact(self) -> bool:
        """True if an answer does not depend on which others are written with it: not so in half precision."""
        return self.precision.dtype == "float32" and self.precision.quantize == "none"

    def look(
        self, path: str | Path, audio_path: str | Path | None = None, task: str = "avqa", *, require_audio: bool = False
    ) -> Seen:
        """The clip, decoded and encoded the way a task wants it, ready to be asked.

        `audio_path` is a file whose sound replaces the clip's. Raises InputError, AudioMissing, UsageError.
        """
        from crab_core.registry import TASKS, lookup

        sound = None if audio_path is None else Path(audio_path)
        seen = Seen(self, Request(Path(path), task, audio_path=sound, require_audio=require_audio))
        seen.encode(lookup(TASKS, task, kind="task").load(), Stopwatch())
        return seen

    def heads(
        self,
        path: str | Path,
        question: str | None = None,
        task: str | None = None,
        options: HeadOptions | None = None,
        decoding: Decoding | None = None,
        *,
        audio_path: str | Path | None = None,
        on_progress: Listener = ignore,
    ) -> HeadReport:
        """The answer about a clip, and what each LoRA head had to do with it: `look` and `Seen.heads` in one.

        A question is asked as avqa unless a task is named. Raises ModelError if the model has no heads, before the clip
        is opened, and what `look` and `Seen.ask` raise.
        """
        from crab_core.engine.heads import inside_of

        inside_of(self)
        seen = self.look(path, audio_path, task or "avqa")
        return seen.heads(question, task, options, decoding, on_progress=on_progress)

    def infer(
        self,
        request: Request,
        decoding: Decoding | None = None,
        on_text: OnText | None = None,
        watch: Stopwatch | None = None,
        on_progress: Listener = ignore,
    ) -> Result:
        """The result of one request; `on_text` hears the text piece by piece while it is written.

        `watch`, if given, tells which stage failed. Raises UsageError for a wrong task or question, InputError for a
        bad file, ResourceError if memory runs out.
        """
        return Seen(self, request).answer(request, decoding, on_text, watch or Stopwatch(), on_progress)


@dataclass
class Seen:
    """A clip that a model has looked at. What it sees and hears is kept: a second question costs only its answer.

    The network's keys and values of the last prompt, up to the end of its media, are kept too, with a `Seen`'s life.
    """

    model: Model
    request: Request
    _probe: Probe | None = None
    _clips: dict[View, Clip] = field(default_factory=dict)
    _encodings: dict[tuple[View, str], Encoded] = field(default_factory=dict)
    _memory: Any = None  # of what was computed for the last question
    _decoding: Lock = field(default_factory=Lock)  # threads that want the same view wait for the one that decodes it

    def ask(
        self,
        question: str | None = None,
        task: str | None = None,
        decoding: Decoding | None = None,
        *,
        reasoning: bool = True,
        choices: Sequence[str | Path] = (),
        on_text: OnText | None = None,
    ) -> Result:
        """The result for a question, or for a task that needs none; `reasoning` asks for the reasons first.

        `choices` are the answers to choose from, or the files for a task that compares clips.

        Without a task, a question is asked as avqa; without both, the task that the clip was looked at for is done.
        """
        named = task or ("avqa" if question is not None else self.request.task)
        request = replace(self.request, task=named, question=question, reasoning=reasoning)
        if choices:
            request = replace(request, choices=tuple(map(str, choices)))
        return self.answer(request, decoding, on_text, Stopwatch())

    def heads(
        self,
        question: str | None = None,
        task: str | None = None,
        options: HeadOptions | None = None,
        decoding: Decoding | None = None,
        *,
        on_progress: Listener = ignore,
    ) -> HeadReport:
        """The same answer as `ask` gives, and what each LoRA head had to do with it.

        Raises ModelError if the model has no heads, and what `ask` raises.
        """
        from crab_core.engine.heads import look_at_heads

        named = task or ("avqa" if question is not None else self.request.task)
        request = replace(self.request, task=named, question=question)
        return look_at_heads(self, request, options, decoding, on_progress)

    def decode(self, task: Task, watch: Stopwatch) -> tuple[View, Clip]:
        """The clip as a task wants to see and hear it: from memory, else probed and decoded now, without the network.

        May run in a thread of its own while the network is busy with another clip.
        """
        view = self.model.network.view(task.name, self.probe(task, watch).duration_s)
        return view, self.decode_view(task, view, watch)

    def encode(self, task: Task, watch: Stopwatch) -> tuple[View, Clip, Encoded]:
        """The clip decoded and encoded for a task: from memory, else now."""
        view, _ = self.decode(task, watch)
        return view, *self.encode_view(task, view, watch)

    def probe(self, task: Task, watch: Stopwatch) -> Probe:
        """What the file holds, if that is enough for the task."""
        with watch("probe"):
            self._probe = self._probe or probe_for(self.request, task)
            require(self.request, task, sound=self._probe.has_audio, picture=self._probe.has_video)
        return self._probe

    def windows(self, request: Request, task: Task, watch: Stopwatch) -> tuple[Window, ...]:
        """The windows in which the clip is looked at for a request; none if it is looked at as a whole."""
        probe = self.probe(task, watch)
        with watch("check"):
            return windows_for(self.model, task, request, probe.duration_s)

    def is_whole(self, request: Request, task: Task, watch: Stopwatch) -> bool:
        """True if one look at the clip and one text answer the request."""
        alone = task.moment is None and not task.compares and not request.where
        return alone and not self.windows(request, task, watch)

    def decode_view(self, task: Task, view: View, watch: Stopwatch) -> Clip:
        """What a view shows of the clip: from memory, else decoded now. The last few views are kept."""
        with watch("decode"), self._decoding:
            clip = self._clips.pop(view) if view in self._clips else self._decoded(view)
            self._clips[view] = clip  # the one used last stands last
            for old in list(self._clips)[:-KEPT_VIEWS]:
                del self._clips[old]
            require(self.request, task, sound=clip.has_sound, picture=clip.has_frames)
        return clip

    def encode_view(self, task: Task, view: View, watch: Stopwatch) -> tuple[Clip, Encoded]:
        """What a view shows, decoded and encoded for a task: from memory, also from that of another task, else now."""
        clip = self.decode_view(task, view, watch)
        network = self.model.network
        sight = network.sight(task.name) if isinstance(network, SharingNetwork) else task.name
        key = view, sight
        encoded = self._encodings.pop(key, None)
        if encoded is None and sight == "" and isinstance(network, SharingNetwork):
            encoded = next((network.for_text(e) for (seen, _), e in self._encodings.items() if seen == view), None)
        if encoded is None:
            with watch("encode"), memory_told(f"looking at '{clip.path}'"):
                encoded = network.encode(clip, task.name)
        self._encodings[key] = encoded
        for old in [k for k in self._encodings if k[0] not in self._clips]:
            del self._encodings[old]
        return clip, encoded

    def write(self, encoded: Encoded, prompt: Prompt, decoding: Decoding, on_text: OnText | None = None) -> Generated:
        """What the network says; what it computed for the last question and needs again is not computed again."""
        network = self.model.network
        if not isinstance(network, RememberingNetwork):
            return network.generate(encoded, prompt, decoding, on_text)
        self._memory = self._memory or network.memory()
        return network.generate_with(self._memory, encoded, prompt, decoding, on_text)

    def prompt(self, request: Request, watch: Stopwatch) -> tuple[Task, Prompt]:
        """The task of a request and what is said to the network; raises UsageError for a question it cannot take."""
        with watch("check"):
            task = task_of(request)
            check_able(self.model.header, task)
            return task, task.wording(in_words(request, task), _profile(self.model.header, request, task))

    def answer(
        self,
        request: Request,
        decoding: Decoding | None,
        on_text: OnText | None,
        watch: Stopwatch,
        on_progress: Listener = ignore,
    ) -> Result:
        """The result of a request about this clip; `ask` is this with fewer words."""
        began = time.perf_counter()
        task, prompt = self.prompt(request, watch)
        decoding = decoding or Decoding(max_new_tokens=task.max_new_tokens)
        if task.compares:
            return answer_by_choosing(self, request, task, prompt, decoding, on_text, watch)
        if task.moment is not None:
            return answer_at_moments(self, request, task, decoding, on_text, watch, on_progress)
        if request.where:
            check_where(self, request, watch)
        windows = self.windows(request, task, watch)
        if windows:
            result = answer_in_windows(self, request, task, prompt, decoding, windows, watch, on_progress)
        else:
            _, clip, encoded = self.encode(task, watch)
            with watch("generate"), memory_told(f"answering about '{clip.path}'"):
                generated = self.write(encoded, prompt, decoding, on_text)
            result = self.read(request, task, generated, decoding, watch)
        if request.where:
            result = with_boxes(self, request, result, decoding, watch, on_progress)
        return replace(result, seconds=time.perf_counter() - began)

    def read(self, request: Request, task: Task, generated: Generated, decoding: Decoding, watch: Stopwatch) -> Result:
        """What the network wrote about this encoded clip as a result; its seconds are those of the watch's stages."""
        view, clip, encoded = self.encode(task, watch)  # from memory
        with watch("read"):
            reading = task.read(generated.text, canvas_of(view, clip))
            doubts = contradictions(reading, clip, Scale(view.second_s))
        return Result(
            id=request.id or request.clip.name,
            model=self.model.name,
            task=task.name,
            question=request.question,
            answer=reading.answer,
            events=united(reading.events),
            boxes=reading.boxes,
            raw_text=generated.text,
            audio=clip.audio,
            duration_s=clip.duration_s,
            seconds=sum(watch.spent_s.values()),
            timings_s=dict(watch.spent_s),
            notes=notes_of(self.model.header, task.name, view, clip, encoded, generated, reading),
            seed=decoding.seed,
            consistency=doubts,
        )

    def _decoded(self, view: View) -> Clip:
        from crab_core.media import load_clip

        size = self.model.network.frame_size
        with memory_told(f"decoding '{self.request.clip}'"):
            return load_clip(self.request.clip, view, audio_path=self.request.audio_path, frame_size=size)


def _family_of(header: Header) -> Family:
    from crab_core.registry import FAMILIES, suggest

    if header.family not in FAMILIES:
        hint = suggest(header.family, list(FAMILIES), kind="family")
        raise ModelError(f"the model '{header.name}' is of an unknown family '{header.family}'", hint=hint)
    family: Family = FAMILIES[header.family].load()
    return family


def _profile(header: Header, request: Request, task: Task) -> str:
    """The wording of a request: that of the model, but for answers without reasoning; pictures are told without it."""
    from crab_core.tasks.wording import direct_of

    return header.profile if request.reasoning or task.moment is not None else direct_of(header.profile)


def _check_profile(header: Header) -> None:
    from crab_core.registry import suggest
    from crab_core.tasks.wording import PROFILES

    if header.profile not in PROFILES:
        hint = suggest(header.profile, list(PROFILES), kind="wording profile")
        raise ModelError(f"the model '{header.name}' learnt an unknown wording '{header.profile}'", hint=hint)


def canvas_of(view: View, clip: Clip) -> Canvas:
    """What the numbers in a text about this view of the clip mean."""
    seconds = len(view.frame_times_s) or len(view.sound_windows_s)
    return Canvas(clip.duration_s, seconds, view.second_s, clip.size)
