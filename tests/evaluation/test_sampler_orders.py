"""The page of the samplers says what was measured."""

import json

from text2digit.evaluation.page import marked
from text2digit.evaluation.sampler_orders import SAMPLERS, STEPS, grid_table, order_table

from ..conftest import ROOT

PAGE = (ROOT / "schedulers" / "README.md").read_text(encoding="utf-8")
REPORT = json.loads((ROOT / "schedulers" / "sampler_orders.json").read_text(encoding="utf-8"))


def test_the_page_holds_the_report_s_numbers():
    """Catches a table that was edited by hand, and a report of other samplers than those that the tests run."""
    assert marked("orders", order_table(REPORT["rows"])) in PAGE and marked("grids", grid_table()) in PAGE
    assert [row["name"] for row in REPORT["rows"]] == [sampler.name for sampler in SAMPLERS]
    assert REPORT["steps"] == list(STEPS) and (ROOT / "schedulers" / "trajectories.png").is_file()
