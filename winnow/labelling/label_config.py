"""Label Studio's labelling configuration: which fields of a task it shows, and which controls take a prediction.

    <Text name="answer" value="$output"/>                       an object; `output` is a field of the task
    <Choices name="verdict" toName="answer"> <Choice .../> ...  takes keep, drop and check, those that it offers
    <Number name="score" toName="answer"/>                      takes the raw value of its name; `ifd` means the score
    <Rating name="score" toName="answer" maxRating="5"/>        takes the sort score, as stars
    <TextArea name="reason" toName="answer"/>                   takes the text of its name

Tags, names and labels are compared without regard to case, and `winnow_` before a name is ignored. Controls of regions
(`perRegion`) and of items (`perItem`) take nothing.

Not covered: whether Label Studio would accept the configuration.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal, NoReturn, Self, cast
from xml.etree import ElementTree as ET

from winnow.errors import InputError
from winnow.labelling.prediction import CHOICES, Choice, Prediction

ControlType = Literal["choices", "number", "rating", "textarea"]
_CONTROLS: dict[str, ControlType] = {
    "choices": "choices",
    "number": "number",
    "rating": "rating",
    "textarea": "textarea",
}

MAX_CONFIG_CHARS = 256 << 10
MAX_ELEMENTS = 5_000
MAX_DEPTH = 100
"""Many times what a page of labels shows; time grows with their product."""

FROM_NAME = "verdict"
TO_NAME = "answer"
SAMPLE_CONFIG = """\
<View>
  <Header value="Prompt"/>
  <Text name="prompt" value="$winnow_prompt"/>
  <Header value="Answer"/>
  <Text name="answer" value="$winnow_answer"/>
  <Choices name="verdict" toName="answer" choice="single-radio" showInline="true">
    <Choice value="keep"/>
    <Choice value="drop"/>
    <Choice value="check"/>
  </Choices>
</View>
"""
"""A configuration that fits every dataset, and the names that predictions have unless others are given."""

_STARS = 5
_MAX_STARS = 100
_VARIABLE = re.compile(r"\$(\w+)")
_SCORES = frozenset({"score", "ifd"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Control:
    """A control that a prediction can fill, or that an annotator writes into.

    `field` is the name of the raw value that belongs there: lower case, without `winnow_`. `labels` says how a choice
    is written in a result, `low` and `high` what a number may be; `high` of a rating is its number of stars.
    """

    from_name: str
    to_name: str
    type: ControlType
    field: str
    labels: Mapping[Choice, str]
    low: float | None = None
    high: float | None = None

    def result(self, prediction: Prediction) -> dict[str, Any] | None:
        """What Label Studio stores for this control; None if the prediction has nothing for it."""
        value = self._value(prediction)
        if value is None:
            return None
        return {
            "id": f"winnow-{self.from_name}",
            "from_name": self.from_name,
            "to_name": self.to_name,
            "type": self.type,
            "value": {_VALUE_NAMES[self.type]: value},
        }

    def _value(self, prediction: Prediction) -> list[str] | float | None:
        match self.type:
            case "choices":
                label = self.labels.get(prediction.choice)
                return None if label is None else [label]
            case "number":
                return self._number(prediction)
            case "rating":
                return self._stars(prediction)
            case "textarea":
                text = prediction.fields.get(self.field)
                return [text] if isinstance(text, str) else None

    def _number(self, prediction: Prediction) -> float | None:
        number = prediction.fields.get("score" if self.field in _SCORES else self.field)
        if not isinstance(number, int | float):
            return None
        too_low = self.low is not None and number < self.low
        too_high = self.high is not None and number > self.high
        return None if too_low or too_high else number

    def _stars(self, prediction: Prediction) -> int | None:
        if self.field not in _SCORES or prediction.score is None:
            return None
        stars = int(self.high or _STARS)
        return min(stars, 1 + int(prediction.score * stars))


_VALUE_NAMES: dict[ControlType, str] = {
    "choices": "choices",
    "number": "number",
    "rating": "rating",
    "textarea": "text",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelConfig:
    """What a labelling configuration asks of a task.

    `objects` maps the name of each object tag to the field of the task that it shows: `$output` to `output`.
    """

    objects: Mapping[str, str]
    controls: tuple[Control, ...]

    @classmethod
    def parse(cls, xml: str) -> Self:
        """Read a configuration.

        Raises:
            InputError: it is not XML, declares a document type, is longer than `MAX_CONFIG_CHARS`, or has more than
                `MAX_ELEMENTS` tags or more than `MAX_DEPTH` within each other.
        """
        if len(xml) > MAX_CONFIG_CHARS:
            raise _unreadable(f"it is longer than {MAX_CONFIG_CHARS:,} characters")
        try:
            root = ET.fromstring(xml, ET.XMLParser(target=_Builder()))  # noqa: S314  # _Builder refuses entities
        except ET.ParseError as error:
            raise _unreadable(str(error)) from error
        objects = dict(_objects(root))
        found = (_control(element, objects) for element in root.iter())
        return cls(objects=objects, controls=tuple(each for each in found if each is not None))

    @classmethod
    def plain(cls, *, from_name: str = FROM_NAME, to_name: str = TO_NAME) -> Self:
        """A single control with the labels keep, drop and check: what is assumed where no configuration is known."""
        control = Control(
            from_name=from_name,
            to_name=to_name,
            type="choices",
            field=from_name,
            labels={choice: choice for choice in CHOICES},
        )
        return cls(objects={}, controls=(control,))

    @property
    def fields(self) -> tuple[str, ...]:
        """The fields that every task must have, in the order of the configuration."""
        return tuple(dict.fromkeys(self.objects.values()))

    def of_type(self, kind: ControlType) -> tuple[Control, ...]:
        """The controls of one type."""
        return tuple(control for control in self.controls if control.type == kind)

    def result(self, prediction: Prediction) -> list[dict[str, Any]]:
        """The `result` of a prediction; empty where no control takes any of it."""
        results = (control.result(prediction) for control in self.controls)
        return [result for result in results if result is not None]


class _Builder(ET.TreeBuilder):
    """Refuses a document type before any entity of it is declared, and tags as soon as they are too many."""

    def __init__(self) -> None:
        super().__init__()
        self._num_elements = 0
        self._depth = 0

    def start(self, tag: str, attrs: dict[str, str], /) -> ET.Element:
        self._num_elements += 1
        self._depth += 1
        if self._num_elements > MAX_ELEMENTS:
            raise _unreadable(f"it has more than {MAX_ELEMENTS:,} tags")
        if self._depth > MAX_DEPTH:
            raise _unreadable(f"it has more than {MAX_DEPTH} tags within each other")
        return super().start(tag, attrs)

    def end(self, tag: str, /) -> ET.Element:
        self._depth -= 1
        return super().end(tag)

    def doctype(self, *_: str | None) -> NoReturn:
        raise _unreadable("it declares a document type, and entities are refused")


def _unreadable(why: str) -> InputError:
    return InputError(
        f"The labelling configuration cannot be read: {why}. Copy it from the project's labelling settings.",
        param="label_config",
    )


def _objects(root: ET.Element) -> Iterator[tuple[str, str]]:
    for element in root.iter():
        name, variable = element.get("name"), _VARIABLE.search(element.get("value", ""))
        if name and variable and element.get("toName") is None:
            yield name, variable[1]


def _control(element: ET.Element, objects: Mapping[str, str]) -> Control | None:
    kind = _CONTROLS.get(element.tag.lower())
    name = element.get("name")
    to_name = element.get("toName", "").partition(",")[0]
    if kind is None or not name or to_name not in objects or _is_of_regions(element):
        return None
    labels = dict(_labels(element)) if kind == "choices" else {}
    return Control(
        from_name=name,
        to_name=to_name,
        type=kind,
        field=name.lower().removeprefix("winnow_"),
        labels=labels,
        low=_float(element.get("min")),
        high=_num_stars(element) if kind == "rating" else _float(element.get("max")),
    )


def _is_of_regions(element: ET.Element) -> bool:
    return "true" in {element.get("perRegion", "").lower(), element.get("perItem", "").lower()}


def _labels(element: ET.Element) -> Iterator[tuple[Choice, str]]:
    """Choices among the labels, by what is stored or else by what is shown; a result holds what is stored."""
    for child in element.iter():
        if child.tag.lower() != "choice":
            continue
        shown = child.get("value", "")
        stored = child.get("alias") or shown
        for label in (stored, shown):
            if label.lower() in CHOICES:
                yield cast("Choice", label.lower()), stored
                break


def _num_stars(element: ET.Element) -> float:
    given = _float(element.get("maxRating"))
    return _STARS if given is None or given not in range(1, _MAX_STARS + 1) else given


def _float(text: str | None) -> float | None:
    try:
        return None if text is None else float(text)
    except ValueError:
        return None
