"""Many requests, one result or failure each: a bad clip never ends the run and never hides in it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from crab_core.engine.stopwatch import Stopwatch
from crab_core.errors import CrabError
from crab_core.progress import Listener, Progress, ignore
from crab_core.types import Decoding, Failure, Request, Result

if TYPE_CHECKING:
    from crab_core.engine.session import Model


def run(
    requests: Iterable[Request], model: Model, decoding: Decoding | None = None, on_progress: Listener = ignore
) -> Iterator[Result | Failure]:
    """One result or failure a request, in order, each as soon as it is known; raises nothing for a bad request."""
    for done, request in enumerate(requests, start=1):
        yield one(request, model, decoding)
        on_progress(Progress("infer", done, 0, "clips", str(request.clip)))


def one(request: Request, model: Model, decoding: Decoding | None = None) -> Result | Failure:
    """The result of a request, or the stage at which it failed and why."""
    watch = Stopwatch()
    try:
        return model.infer(request, decoding, watch=watch)
    except CrabError as err:
        return Failure(request, watch.stage, type(err).__name__, err.message)
    except Exception as err:  # the batch boundary: one clip's surprise must not cost the others
        return Failure(request, watch.stage, type(err).__name__, str(err) or type(err).__name__)
