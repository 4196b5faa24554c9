"""What is told of an analysis, in each language."""

from __future__ import annotations

import re

import pytest

from data.causes.effects import Effect
from data.causes.findings import ANY_DEFECT, Association, Basis, Companion, Lag, Speaks, Verdict
from data.causes.phrases import Phrase, Speech, phrases
from data.causes.wording import experiment, groups, population, population_name, sentence, target_name
from data.intervals import Estimate
from data.languages import LANGUAGES
from edge_client.contract.errors import ConfigError


def _estimate(value: float, low: float, high: float, n: int) -> Estimate:
    return Estimate(value=value, low=low, high=high, n=n, level=0.975)


FOUND = Association(
    population="labels", target=ANY_DEFECT, station="press", variable="{humidity}",
    lag=Lag(low=60, median=2520, high=9000),
    parts=3_000, labelled=2_990, with_target=204, missing=0.0, unjoined=0.0, basis=Basis.PARTS, units=2_990, strata=40,
    t=4.2, p=0.0001, q=0.0312, p_first=0.0001, q_first=0.001, verdict=Verdict.FOUND, shape="rises",
    effect=Effect(
        high_group=Phrase("highest_fifth", {"edge": 1234.5}), low_group=Phrase("lowest_fifth", {"edge": 0.62}),
        high=_estimate(0.125, 0.1, 0.15, 1_204), low=_estimate(0.0123, 0.008, 0.02, 600),
        difference=_estimate(0.11, 0.08, 0.14, 1_804), ratio=_estimate(10.1, 5.0, 20.0, 1_804),
        within=_estimate(4.1, 2.2, float("nan"), 1_804),
    ),
    companions=(Companion(station="oven", variable="dew", correlation=0.812),),
)  # fmt: skip


def test_a_finding_in_english() -> None:
    assert sentence(FOUND) == (
        "any defect goes with high {humidity} at press, recorded 42 min before (60 s to 2.5 h): 12 % of the parts "
        "in the highest fifth (1234.5 and more) (10 % to 15 %, n = 1,204), 1.2 % in the lowest fifth (0.62 and "
        "less) (0.8 % to 2 %, n = 600). Among parts of the same place, engine and shift (2,990 parts): q = 0.031, "
        "ratio 4.1 (97.5 % interval: 2.2 to no upper bound); 204 of 2,990 parts whose truth is known have any "
        "defect. It moves together with dew at oven (+0.81): the data can hardly tell which of them it is."
    )


def test_a_finding_in_german() -> None:
    assert sentence(FOUND, "de") == (
        "irgendein Fehler geht einher mit hohen Werten von {humidity} an press, 42 min vorher erfasst (60 s bis "
        "2,5 h): 12 % der Teile im höchsten Fünftel (1234,5 und mehr) (10 % bis 15 %, n = 1.204), 1,2 % im "
        "niedrigsten Fünftel (0,62 und weniger) (0,8 % bis 2 %, n = 600). Unter Teilen desselben Orts, Modells und"
        " derselben Schicht (2.990 Teile): q = 0,031, Verhältnis 4,1 (97,5-%-Intervall: 2,2 bis keine obere "
        "Grenze); irgendein Fehler bei 204 von 2.990 Teilen mit bekannter Wahrheit. Es verläuft zusammen mit dew "
        "an oven (+0,81): Die Daten können kaum sagen, welche der Größen es ist."
    )


def test_groups_experiment_and_population_follow_the_language() -> None:
    assert FOUND.effect is not None
    assert groups(FOUND.effect, "de")[1] == "im niedrigsten Fünftel (0,62 und weniger)"
    assert FOUND.effect.to_dict()["low_group"] == "in the lowest fifth (0.62 and less)"
    assert (experiment(FOUND, "de") or "").startswith("Klarheit gäben etwa ")
    speaks = Speaks(
        population="labels", parts=5_000, stands_for=61_234.4, labelled=1_000, with_target={"crack": 12}, joined={}
    )
    assert population(speaks) == (
        "1,000 labelled parts (12 crack) of 5,000 captured ones, which stand for about 61,234 by their inclusion "
        "probabilities; context known of none"
    )
    assert "für etwa 61.234 stehen; Kontext bekannt von keinem" in population(speaks, "de")
    assert target_name("crack", "de") == "crack"
    assert population_name("outcomes at end-of-line", "de") == "Rückmeldungen aus end-of-line"
    assert [population_name(name) for name in ("labels", "outcomes", "outcomes at x")] == [
        "labels",
        "outcomes",
        "outcomes at x",
    ]


def test_every_phrase_is_there_in_every_language_and_names_the_same_values() -> None:
    table = phrases()
    assert all(set(texts) == set(LANGUAGES) for texts in table.values())
    assert all(
        len({tuple(sorted(re.findall(r"{\w+}", text))) for text in texts.values()}) == 1 for texts in table.values()
    )


def test_another_language_is_refused() -> None:
    with pytest.raises(ConfigError, match="'fr': expected one of en, de"):
        Speech("fr")
