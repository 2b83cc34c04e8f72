"""provisional writers until tasks land."""
from collections.abc import Sequence
from crab_core.types import Box
NOTHING="nothing"
M="<mask_start><mask_0><mask_1><mask_2><mask_3><mask_4><mask_5><mask_end>"
def _c(b:Box)->str: return f"({b.x0:.0f},{b.y0:.0f})({b.x1:.0f},{b.y1:.0f})"
def write_box(box:Box|None)->str:
    return f"The sounding object is {box.label}. Its coordinates are <obj>{_c(box)}</obj>." if box else "The sounding object is nothing."
def write_boxes(boxes:Sequence[Box])->str:
    return " ".join(f"The sounding object is {b.label}. Its coordinates are <obj>{_c(b)}</obj>." for b in boxes) or "The sounding object is nothing."
def write_masks(names:str)->str:
    return f"The object making the sound is {names}."+("" if names==NOTHING else f" Its mask is {M}")
def write_referred(exp:str,names:str)->str:
    return f"In the image, {exp} is {names}."+("" if names==NOTHING else f" Its mask is {M}")
