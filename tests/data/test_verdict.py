"""A verdict comes back from JSON as it was, and nothing else passes for one."""

import json

import pytest

from exitwave.data.errors import FormatError
from exitwave.data.verdict import Verdict, worst


def test_it_comes_back_from_json():
    verdict = Verdict(grade="doubtful", reasons=("one",), advice=("do this", "or that"), evidence={"noise-ratio": 1.25})
    assert Verdict.from_json(json.loads(json.dumps(verdict.to_json()))) == verdict


def test_evidence_that_is_no_number_is_left_out_of_json():
    told = Verdict(grade="sound", evidence={"a": float("nan"), "b": 1.0}).to_json()
    assert told["evidence"] == {"b": 1.0}


@pytest.mark.parametrize(
    "stored",
    [
        {},
        {"grade": "splendid", "reasons": [], "advice": [], "evidence": {}},
        {"grade": "sound", "reasons": "one", "advice": [], "evidence": {}},
        {"grade": "sound", "reasons": [], "advice": [3], "evidence": {}},
        {"grade": "sound", "reasons": [], "advice": [], "evidence": [1]},
        {"grade": ["sound"], "reasons": [], "advice": [], "evidence": {}},
    ],
)
def test_what_is_none_is_refused(stored: dict):
    with pytest.raises(FormatError, match="verdict"):
        Verdict.from_json(stored)


def test_the_worst_grade_wins():
    assert worst(["sound", "failed", "doubtful"]) == "failed"
    assert worst([]) == "sound"
