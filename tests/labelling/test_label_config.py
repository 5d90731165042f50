"""What of a labelling configuration a prediction can fill."""

from __future__ import annotations

from pathlib import Path

import pytest

from winnow.errors import InputError
from winnow.labelling.label_config import SAMPLE_CONFIG, LabelConfig
from winnow.labelling.prediction import Prediction

KEEP = Prediction(
    score=0.45, choice="keep", fields={"score": 0.8, "loss_direct": 2.0, "flags": ["truncated"]}
)
CHECK = Prediction(score=None, choice="check", fields={"reason": "no_answer", "detail": "line 1."})


def view(controls: str) -> LabelConfig:
    return LabelConfig.parse(f'<View><Text name="text" value="$output"/>{controls}</View>')


def values(config: LabelConfig, prediction: Prediction = KEEP) -> dict[str, object]:
    return {each["from_name"]: each["value"] for each in config.result(prediction)}


def test_the_sample_configuration_takes_every_choice() -> None:
    config = LabelConfig.parse(SAMPLE_CONFIG)
    assert config.fields == ("winnow_prompt", "winnow_answer")
    assert (
        config.result(KEEP)
        == LabelConfig.plain().result(KEEP)
        == [
            {
                "id": "winnow-verdict",
                "from_name": "verdict",
                "to_name": "answer",
                "type": "choices",
                "value": {"choices": ["keep"]},
            }
        ]
    )
    assert values(config, CHECK) == {"verdict": {"choices": ["check"]}}
    assert SAMPLE_CONFIG in Path("docs/labelling.md").read_text(encoding="utf-8")


def test_labels_are_compared_without_case_and_written_as_they_are_stored() -> None:
    config = view(
        '<choices name="a" toName="text"><choice value="Keep"/><Choice value="Drop it" alias="DROP"/></choices>'
        '<Choices name="b" toName="text"><Choice value="Keep" alias="k1"/><Choice value="other"/></Choices>'
        '<Choices name="c" toName="text"><Choice value="yes"/></Choices>'
    )
    assert [control.from_name for control in config.controls] == ["a", "b", "c"]
    assert values(config) == {"a": {"choices": ["Keep"]}, "b": {"choices": ["k1"]}}
    drop = Prediction(score=0.1, choice="drop", fields={})
    assert values(config, drop) == {"a": {"choices": ["DROP"]}}
    assert config.result(CHECK) == []


def test_numbers_stars_and_texts_take_the_value_of_their_name() -> None:
    config = view(
        '<Number name="IFD" toName="text"/><Number name="winnow_loss_direct" toName="text" max="1"/>'
        '<Number name="other" toName="text"/><Rating name="score" toName="text" maxRating="10"/>'
        '<TextArea name="reason" toName="text"/>'
    )
    assert values(config) == {"IFD": {"number": 0.8}, "score": {"rating": 5}}
    assert values(config, CHECK) == {"reason": {"text": ["no_answer"]}}


def test_controls_that_are_not_about_the_whole_task_take_nothing() -> None:
    choice = '<Choice value="keep"/>'
    config = view(
        f'<Choices name="a" toName="text" perRegion="true">{choice}</Choices>'
        f'<Choices name="b" toName="elsewhere">{choice}</Choices><Choices name="c">{choice}</Choices>'
    )
    assert config.controls == ()


def test_objects_name_the_fields_that_tasks_must_have() -> None:
    config = LabelConfig.parse(
        '<View><Header value="$title"/><Paragraphs name="chat" value="$messages"/>'
        '<HyperText name="a" value="Answer: $output!"/><Text name="b" value="$output"/></View>'
    )
    assert config.objects == {"chat": "messages", "a": "output", "b": "output"}
    assert config.fields == ("messages", "output")


@pytest.mark.parametrize(
    ("xml", "words"),
    [
        ('<!DOCTYPE v [<!ENTITY a "aaaa">]><View>&a;</View>', "document type"),
        ('<!DOCTYPE v SYSTEM "file:///etc/passwd"><View/>', "document type"),
        ("<View>&undefined;</View>", "undefined entity"),
        ("<View", "unclosed token"),
        ("", "no element found"),
        ("x" * (2 << 20), "longer than"),
        ("<View>" * 101 + "</View>" * 101, "more than 100 tags within"),
        ("<Choices>" * 100_000, "longer than"),
        ("<View>" + "<a/>" * 5_000 + "</View>", "more than 5,000 tags"),
    ],
)
def test_what_cannot_be_read_is_refused_with_its_reason(xml: str, words: str) -> None:
    with pytest.raises(InputError, match=words) as refused:
        LabelConfig.parse(xml)
    assert refused.value.param == "label_config"


def test_a_large_configuration_is_read() -> None:
    assert LabelConfig.parse("<View>" * 99 + "<a/>" * 4_901 + "</View>" * 99).fields == ()


@pytest.mark.parametrize("stars", ["nan", "inf", "1e400", "-3", "0", "2.5", "101", "", "many"])
def test_a_number_of_stars_that_there_cannot_be_is_five(stars: str) -> None:
    config = view(f'<Rating name="score" toName="text" maxRating="{stars}"/>')
    assert values(config) == {"score": {"rating": 3}}
