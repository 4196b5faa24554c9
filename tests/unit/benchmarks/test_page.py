"""The page of benchmarks says what they printed, with its spread and n."""

from benchmarks.page import page


def test_a_page_has_each_figure_and_row_with_spread_and_n():
    text = page(
        [
            {
                "benchmark": "spool",
                "options": "--days 7",
                "machine": {"processor": "P", "cores": 2, "python": "3.11"},
                "rows": [{"case": "a|b", "unit": "1/s", "median": 1234.5, "low": 0.25, "high": 98765.4, "n": 7}],
                "figures": {"lost": {"value": 0.0, "low": 0.0, "high": 0.0, "n": 1958}},
            }
        ],
        command="python -m benchmarks spool --page spool.md",
        of="the spool",
    )
    assert text.startswith("# Benchmarks: the spool\n\nMade by `python -m benchmarks spool --page spool.md` from")
    assert "`python -m benchmarks.spool --days 7 --json` on P, 2 cores, Python 3.11." in text
    assert "| lost | 0 | [0, 0] | 1958 |" in text
    assert "| a\\|b | 1234 | [0.25, 98,765] | 1/s | 7 |" in text


def test_rows_of_words_are_told_as_they_are():
    outcome = {
        "benchmark": "attacks",
        "machine": {"processor": "P", "cores": 2, "python": "3.11"},
        "rows": [{"attack": "unsigned", "changed": [], "recovered": True}],
        "figures": {},
    }
    text = page([outcome], command="python -m benchmarks attacks --page attacks.md")
    assert "| attack | changed | recovered |\n|---|---|---|\n| unsigned | nothing | yes |" in text
