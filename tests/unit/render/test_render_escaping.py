"""Whatever stands in a file name, a question or an answer, a page stays the page that it is: as a property."""

from dataclasses import replace

from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from test_render_heads import findings, parsed
from test_render_heads_survey import findings as surveyed

from crab_core.render.heads_page import figures, heads_page
from crab_core.render.heads_survey_page import survey_figures, survey_page
from crab_core.render.results_page import Facts, Shown, results_page
from crab_core.types import Answer, Box, Event, Result

EVIL = ("<script>alert(1)</script>", '"><img src=http://evil.example/x onerror=alert(1)>', "</title><style>*{}", "&lt;")
TEXTS = st.one_of(
    st.sampled_from(EVIL), st.text(alphabet=st.sampled_from("<>&\"'/ab=\n\t;:!-{}"), max_size=30), st.text(max_size=20)
)
HARMLESS = findings(text="dog"), surveyed(text="dog")
AT_EASE = settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def shape(html):
    """Every tag in its order, and what would be loaded."""
    tags = parsed(html)
    return tags.names, [source[:20] for source in tags.sources]


def results(text):
    result = Result(
        id=text,
        model=text,
        task="avqa",
        question=text or "?",
        answer=Answer(text or "-", text or "-"),
        events=(Event(text, 0, 1, "audio"),),
        boxes=(Box(text, 0, 0, 1, 1),),
        raw_text=text,
        audio="used",
        duration_s=2.0,
        seconds=0.0,
        notes=(text,),
        consistency=(text,),
    )
    count = {text: 1}
    failure = {name: text for name in ("id", "task", "stage", "error", "message")}
    numbers = {"tasks": count, "models": count, "audio": count, "labels": count, "notes": {"shared": 1}}
    facts = Facts(text, 1, 1, **numbers, doubtful=1, runs=[text], failures=[failure], problems=[text])
    return results_page(facts, [Shown(result), Shown(replace(result, task="scan"))])


@AT_EASE
@example(EVIL[0])
@given(TEXTS)
def test_a_page_of_results_has_the_same_tags_for_every_text(text):
    assert shape(results(text)) == shape(results("dog"))


@AT_EASE
@example(EVIL[0])
@given(TEXTS.filter(lambda text: text.strip() != ""))
def test_a_page_of_heads_has_the_same_tags_for_every_text(text):
    document, arrays = findings(text=text)
    document["tokens"] = [{**token, "text": text} for token in document["tokens"]]
    assert shape(heads_page(document, arrays)) == shape(heads_page(*HARMLESS[0]))
    for name, content in figures(document, arrays):
        assert not name.endswith(".svg") or b"<script" not in content


@AT_EASE
@example(EVIL[0])
@given(TEXTS)
def test_a_page_of_a_survey_has_the_same_tags_for_every_text(text):
    document = surveyed(text=text)
    assert shape(survey_page(document)) == shape(survey_page(HARMLESS[1]))
    assert all(b"<script" not in content for _, content in survey_figures(document))
