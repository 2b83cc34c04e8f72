"""Masks by SAM 2 (arXiv 2408.00714): what a box and points in a picture show, and the same thing in the pictures after.

Wraps transformers' `Sam2Model` (pictures) and `Sam2VideoModel` (tracking), which read the same published folder. The
preparation of pictures is ours, because transformers' needs torchvision. As in Crab+'s second stage one mask is asked
of each place, not three. Letters: H, W of the picture; h, w of the logits.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F

from crab_core.errors import ModelError, UsageError, WeightsMismatch
from crab_core.families._base import Needs, Place, Precision

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of ImageNet, as published
BOX_CORNERS, INSIDE = (2, 3), 1  # SAM's labels of points
VIDEO = "sam2_video"
Pixels = npt.NDArray[np.uint8]
Logits = npt.NDArray[np.float32]


def load(folder: Path, precision: Precision) -> Sam2:
    """The masker of a published folder with `config.json` and `model.safetensors`; weights are read when first needed.

    Raises ModelError if the folder is not one of SAM 2.
    """
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        kind = config["model_type"]
    except (OSError, ValueError, KeyError, TypeError) as err:
        raise ModelError(f"'{folder}' holds no SAM 2: its config.json cannot be read", hint=_FOLDER) from err
    if kind not in ("sam2", VIDEO):
        raise ModelError(f"'{folder}' holds a model of type '{kind}', not SAM 2", hint=_FOLDER)
    if not any(folder.glob("*.safetensors")):
        raise ModelError(f"'{folder}' has no weights of SAM 2 as safetensors", hint=_FOLDER)
    return Sam2(folder, config, precision)


_FOLDER = "Give a folder such as that of facebook/sam2.1-hiera-large: --sam2 DIR"


@dataclass
class Sam2:
    """Implements `families._base.Masker`."""

    folder: Path
    config: dict[str, Any]
    precision: Precision
    _models: dict[str, Any] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """The folder's name."""
        return self.folder.name

    def draw(self, picture: Pixels, places: Sequence[Place]) -> list[Logits]:
        """The logits (h, w) of each place in a picture (H, W, 3), above 0 inside; the picture is encoded once."""
        if not places:
            return []
        model = self.network("picture")
        with torch.inference_mode():
            embeddings = model.get_image_embeddings(self._pixels(picture, model))
            return [self._drawn(model, embeddings, place, picture.shape) for place in places]

    def needs(self, precision: Precision) -> Needs:
        """The memory that drawing and tracking take, counted from the files' headers: see `sam2_needs`."""
        from crab_core.families.sam2_needs import needs_of

        return needs_of(self.folder, self.config, precision)

    def tracker(self) -> Sam2Tracker:
        """One that follows places from picture to picture; raises UsageError if the weights are of pictures only."""
        if self.config["model_type"] != VIDEO:
            raise UsageError(f"the SAM 2 in '{self.folder}' cannot track", hint="Leave --track out, or give another.")
        return Sam2Tracker(self)

    def _drawn(self, model: Any, embeddings: list[torch.Tensor], place: Place, shape: tuple[int, ...]) -> Logits:
        points, labels = prompts(place, shape, model.prompt_encoder.input_image_size)
        device = embeddings[-1].device
        told = model(
            image_embeddings=embeddings,
            input_points=points.to(device),
            input_labels=labels.to(device),
            multimask_output=False,
        )
        return _array(told.pred_masks[0, 0, 0])

    def _pixels(self, picture: Pixels, model: Any) -> torch.Tensor:
        side = model.prompt_encoder.input_image_size
        return prepared(picture, side).to(self.precision.device, getattr(torch, self.precision.dtype))

    def network(self, kind: str) -> Any:
        """transformers' network for a `picture` or for a `video`, read when it is first asked for."""
        if kind not in self._models:
            self._models[kind] = _read(self.folder, self.config, self.precision, tracks=kind == "video")
        return self._models[kind]


class Sam2Tracker:
    """Implements `families._base.Tracker`. However long it follows, it remembers as many pictures as SAM 2 looks back.

    What is kept of older ones would never be read again, so that forgetting it changes nothing.
    """

    def __init__(self, masker: Sam2) -> None:
        self._masker = masker
        self._session: Any = None
        self._index = 0

    def start(self, picture: Pixels, places: Sequence[Place]) -> list[Logits]:
        """Forget what was followed; from now on follow these places of a picture (H, W, 3). Their logits (h, w)."""
        from transformers import Sam2VideoInferenceSession

        self._session, self._index = None, 0
        if not places:
            return []
        model = self._masker.network("video")
        precision = self._masker.precision
        device, dtype = torch.device(precision.device), getattr(torch, precision.dtype)
        self._session = Sam2VideoInferenceSession(
            video_height=picture.shape[0],
            video_width=picture.shape[1],
            inference_device=device,
            inference_state_device=device,
            video_storage_device=device,
            dtype=dtype,
        )
        for number, place in enumerate(places):
            points, labels = prompts(place, picture.shape, model.prompt_encoder.input_image_size)
            index = self._session.obj_id_to_idx(number)
            self._session.add_point_inputs(index, 0, {"point_coords": points, "point_labels": labels})
        self._session.obj_with_new_inputs = list(range(len(places)))
        return self.follow(picture)

    def follow(self, picture: Pixels) -> list[Logits]:
        """The logits (h, w) of what is followed in the next picture (H, W, 3); none if nothing is."""
        if self._session is None:
            return []
        model = self._masker.network("video")
        told = model(self._session, frame_idx=self._index, frame=self._masker._pixels(picture, model))
        self._forget(max(model.config.num_maskmem, model.config.max_object_pointers_in_encoder))
        self._index += 1
        return [_array(mask[0]) for mask in told.pred_masks]

    @property
    def remembered(self) -> int:
        """Of how many pictures something is kept."""
        if self._session is None:
            return 0
        kept = self._session.output_dict_per_obj.values()
        return max(len(one["cond_frame_outputs"]) + len(one["non_cond_frame_outputs"]) for one in kept)

    def _forget(self, most: int) -> None:
        session = self._session
        session.processed_frames.clear()
        for number, outputs in session.output_dict_per_obj.items():
            recent = outputs["non_cond_frame_outputs"]
            for index in [index for index in recent if index <= self._index - most]:
                del recent[index]
            for one in (*recent.values(), *outputs["cond_frame_outputs"].values()):
                one.pop("high_res_masks", None)  # only the memory of the picture itself is made from them
            tracked = session.frames_tracked_per_obj[number]
            for index in [index for index in tracked if index <= self._index - most]:
                del tracked[index]


def prepared(picture: Pixels, side: int) -> torch.Tensor:
    """A picture (H, W, 3) as (1, 3, side, side) float32: squeezed with antialiasing, rounded, normalised."""
    whole = torch.from_numpy(np.ascontiguousarray(picture)).permute(2, 0, 1)[None].float()
    small = F.interpolate(whole, (side, side), mode="bilinear", antialias=True, align_corners=False)
    mean, std = (torch.tensor(values).view(1, 3, 1, 1) for values in (MEAN, STD))
    return (small.round().clamp(0, 255) / 255 - mean) / std


def prompts(place: Place, shape: tuple[int, ...], side: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Points (1, 1, P, 2) of a picture of that shape (H, W, ...) squeezed to `side`, and their labels (1, 1, P).

    The corners of the box come first, as SAM 2's own predictor has them.
    """
    box = place.box
    told = [(box.x0, box.y0), (box.x1, box.y1)] if box is not None else []
    labels = [*(BOX_CORNERS if box is not None else ()), *([INSIDE] * len(place.points))]
    told += [(point.x, point.y) for point in place.points]
    height, width = shape[:2]
    points = torch.tensor(told, dtype=torch.float32) * torch.tensor([side / width, side / height])
    return points[None, None], torch.tensor(labels, dtype=torch.int32)[None, None]


def check_tensors(masker: Sam2) -> None:
    """Compares names and sizes with the network's and reads no weights; raises what reading them would raise."""
    _read(masker.folder, masker.config, Precision("meta"), tracks=masker.config["model_type"] == VIDEO)


def _read(folder: Path, config: dict[str, Any], precision: Precision, *, tracks: bool) -> Any:
    """The network on its device, `meta` for one without weights.

    Raises WeightsMismatch if tensors are lacking or of another size, ModelError if files are damaged.
    """
    from safetensors import SafetensorError
    from transformers import Sam2Config, Sam2Model, Sam2VideoConfig, Sam2VideoMaskDecoderConfig, Sam2VideoModel
    from transformers.utils import logging

    parts = ("vision_config", "prompt_encoder_config", "mask_decoder_config")
    verbosity, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()  # it tells of the tensors that pictures do not need
    logging.disable_progress_bar()
    try:
        if tracks:  # transformers 5.17 makes the wrong config of a decoder's dictionary
            decoder = Sam2VideoMaskDecoderConfig(**config["mask_decoder_config"])
            wanted = Sam2VideoConfig(**{**config, "mask_decoder_config": decoder})
        else:
            wanted = Sam2Config(**{name: config[name] for name in parts})
        network, told = (Sam2VideoModel if tracks else Sam2Model).from_pretrained(
            folder,
            config=wanted,
            dtype=getattr(torch, precision.dtype),
            use_safetensors=True,
            local_files_only=True,
            output_loading_info=True,
            ignore_mismatched_sizes=True,  # told below, with the names
            device_map=precision.device if precision.device == "meta" else None,
        )
    except (OSError, ValueError, KeyError, TypeError, RuntimeError, SafetensorError) as err:
        raise ModelError(f"the SAM 2 in '{folder}' cannot be loaded: {err}", hint=_FOLDER) from err
    finally:
        logging.set_verbosity(verbosity)
        if bars:
            logging.enable_progress_bar()
    lacking = sorted({*told["missing_keys"], *(name for name, *_ in told.get("mismatched_keys", ()))})
    if lacking:
        raise WeightsMismatch(str(folder), lacking, [])
    return network.to(precision.device).eval().requires_grad_(False)


def _array(logits: torch.Tensor) -> Logits:
    made: Logits = logits.float().cpu().numpy()
    return made
