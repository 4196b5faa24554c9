"""What `andon inputs` says."""

from dataclasses import replace

from infra.cli.inputs import lines_of, told_of_change
from training.evaluate import Measure
from training.input_choice import InputChoice
from training.input_trial import Compared, Comparison

TODAY, TILES = InputChoice(), InputChoice(tiles=(2, 2))


def comparison(*, pays: bool) -> Comparison:
    gap = Measure(value=0.05, low=0.02 if pays else -0.01, high=0.08, n=600)
    return Comparison(
        rows=(
            Compared(
                choice=TODAY, variant="int8", measure=Measure(value=0.8, low=0.77, high=0.83, n=600), difference=None,
                ms=2.0, engine_bytes=4_000_000,
            ),
            Compared(
                choice=TILES, variant="int8", measure=Measure(value=0.85, low=0.82, high=0.88, n=600), difference=gap,
                ms=8.4, engine_bytes=4_100_000,
            ),
        ),
        measure="mean defect average precision",
        frames=600,
        of=1344,
        recommended=TILES if pays else None,
    )  # fmt: skip


def test_a_recommendation_says_how_much_is_gained_what_it_costs_and_how_to_have_it() -> None:
    text = "\n".join(lines_of("plates", comparison(pays=True)))
    for part in (
        "on 600 of 1344 labelled training frames",
        "0.850 (0.820 to 0.880)",
        "+0.050 (+0.020 to +0.080)",
        "finds more: +0.050 (+0.020 to +0.080, n = 600)",
        "8.4 ms a frame instead of 2.0 (4.2 times",
        "4.1 MB instead of 4.0",
        "andon inputs plates --set efficientnet-lite0@224/2x2",
    ):
        assert part in text


def test_a_choice_that_the_gate_would_refuse_for_its_latency_is_told_so() -> None:
    slow = replace(comparison(pays=True), latency_limit_ms=8.0)
    assert "The gate would refuse it: it allows 8.0 ms" in "\n".join(lines_of("plates", slow))
    quick = replace(comparison(pays=True), latency_limit_ms=20.0)
    assert "refuse" not in "\n".join(lines_of("plates", quick))


def test_a_gain_within_its_uncertainty_is_no_reason_to_change() -> None:
    text = "\n".join(lines_of("plates", comparison(pays=False)))
    assert "Stay with efficientnet-lite0@224" in text
    assert "--set" not in text


def test_a_change_is_told_with_what_it_means() -> None:
    text = "\n".join(told_of_change("plates", TODAY, TILES))
    for part in (
        "from the next retrain on",
        "embeds every frame anew",
        "whole new file",
        "The gate judges it",
        "andon retrain plates",
    ):
        assert part in text
