"""Axes and points: what a name sets, what follows, which cell is current, what it costs."""

from __future__ import annotations

import textwrap
from pathlib import Path

import pytest

from stress import config, design
from stress.config import load_protocol, load_study, parse_document
from stress.errors import StressError, StudyError
from stress.stages import Delay, Seconds
from stress.sweep import Workbench, cost

CONFIGS = Path(__file__).parents[2] / "configs"
MARKETS = ("BTC", "ETH", "SOL", "DOGE")


@pytest.fixture(scope="module")
def quickstart():
    return load_study(CONFIGS / "studies" / "quickstart.yaml")


@pytest.fixture(scope="module")
def plan(quickstart):
    return design.plan(quickstart)


@pytest.fixture(scope="module")
def reference():
    return load_protocol(CONFIGS / "protocols" / "reference.yaml")


def made(quickstart, **changes):
    values = quickstart.resolved()
    values = {key: value for key, value in values.items() if key not in ("current", "proposed")} | changes
    return config.Study(**values)


# ------------------------------------------------------------------------------------------- axes


def test_an_axis_sets_the_first_tier_of_the_first_market_and_scales_the_rest(reference):
    changed, resolved = design.with_axis(reference, "leverage_cap", 50.0, MARKETS)
    tiers = changed.margin.markets
    assert [tier.leverage_cap for tier in tiers["BTC"]] == [50.0, 25.0]
    assert [tier.leverage_cap for tier in tiers["ETH"]] == [31.25, 18.75]
    assert next(iter(resolved)) == "BTC.leverage_cap[0]"
    assert resolved["DOGE.leverage_cap[1]"] == 6.25
    assert [tier.maintenance_to_initial_ratio for tier in tiers["BTC"]] == [0.5, 0.5]


def test_the_first_market_of_the_study_leads(reference):
    changed, _ = design.with_axis(reference, "leverage_cap", 50.0, ("ETH", "BTC"))
    assert changed.margin.markets["ETH"][0].leverage_cap == 50.0
    assert changed.margin.markets["BTC"][0].leverage_cap == 80.0


def test_a_market_or_a_tier_may_be_named(reference):
    changed, resolved = design.with_axis(reference, "ETH.leverage_cap", 50.0, MARKETS)
    assert resolved == {"ETH.leverage_cap[0]": 50.0, "ETH.leverage_cap[1]": 30.0}
    assert changed.margin.markets["BTC"] == reference.margin.markets["BTC"]
    _, resolved = design.with_axis(reference, "ETH.leverage_cap[1]", 20.0, MARKETS)
    assert resolved == {"ETH.leverage_cap[1]": 20.0}


def test_the_present_value_changes_nothing(reference):
    for name, value in {"leverage_cap": 40.0, "oracle_delay": Seconds(60), "liquidation_fee": 0.005}.items():
        assert design.with_axis(reference, name, value, MARKETS)[0] == reference


def test_a_value_of_the_venue_is_set_directly_and_a_delay_loses_its_at_step():
    protocol = load_protocol(CONFIGS / "protocols" / "hyperliquid.yaml")
    assert protocol.oracle.oracle_delay == Delay(value="3s", at_step="0s")
    changed, resolved = design.with_axis(protocol, "oracle_delay", Seconds(120), MARKETS)
    assert changed.oracle.oracle_delay == Delay(value="120s")
    assert resolved == {"oracle_delay": 120.0}
    assert design.effective(protocol.oracle.oracle_delay, 60.0) == 0.0
    assert design.effective(protocol.oracle.oracle_delay, 3.0) == 3.0


def test_names_and_words_can_be_axes(reference):
    changed, _ = design.with_axis(reference, "adl_price", "previous_mark", MARKETS)
    assert changed.waterfall[1].adl_price == "previous_mark"
    assert design.with_axis(reference, "slippage_cap", 0.05, MARKETS)[0].impact.slippage_cap == 0.05
    assert design.with_axis(reference, "rounds_per_step", 1.0, MARKETS)[0].rounds_per_step == 1
    with pytest.raises(StudyError, match="must be a name"):
        design.with_axis(reference, "adl_price", 3.0, MARKETS)


def test_a_field_of_two_rules_is_named_with_its_rule(reference):
    data = reference.model_dump(by_alias=True)
    data["waterfall"] = [*data["waterfall"], {"rule": "adl_profit_leverage", "adl_price": "mark"}]
    both = config.Protocol.model_validate(data)
    with pytest.raises(StudyError, match="several rules") as caught:
        design.with_axis(both, "adl_price", "mark", MARKETS)
    assert "adl_pro_rata.adl_price" in str(caught.value.fix)
    changed, resolved = design.with_axis(both, "adl_pro_rata.adl_price", "mark", MARKETS)
    assert [rule.adl_price for rule in changed.waterfall if hasattr(rule, "adl_price")] == ["mark", "mark"]
    assert resolved == {"adl_price": "mark"}


def test_every_parameter_of_every_preset_can_be_named():
    for path in (CONFIGS / "protocols").glob("*.yaml"):
        protocol = load_protocol(path)
        found = design.parameters(protocol)
        assert len({parameter.place for parameter in found}) == len(found)
        for parameter in found:
            assert design.addressed(protocol, f"{parameter.rule}.{parameter.field}".lstrip("."), MARKETS)


# ------------------------------------------------------------------------------------------- plan


def test_the_quickstart_has_a_hundred_cells_in_c_order(plan):
    assert plan.cell_shape == (5, 4, 5)
    assert plan.path_shape == (2,)
    assert [cell.index for cell in plan.cells[:6]] == [(0, 0, 0), (0, 0, 1), (0, 0, 2), (0, 0, 3), (0, 0, 4), (0, 1, 0)]
    assert plan.cell((3, 1, 1)).values == {
        "leverage_cap": 40.0,
        "maintenance_to_initial_ratio": 0.5,
        "oracle_delay": 60.0,
    }
    assert plan.current_index == (3, 1, 1)
    assert plan.proposed_index == (4, 1, 1)


def test_the_cell_holds_what_its_values_say(plan):
    for cell in plan.cells:
        first = cell.protocol.margin.markets["BTC"][0]
        assert first.leverage_cap == cell.values["leverage_cap"]
        assert first.maintenance_to_initial_ratio == cell.values["maintenance_to_initial_ratio"]
        assert cell.protocol.oracle.oracle_delay.value == cell.values["oracle_delay"]
        assert cell.base == plan.current[0]
    assert plan.cell(plan.current_index).protocol == plan.current[0]


def test_only_changed_margin_makes_a_market_changed(plan):
    assert plan.cell((3, 1, 4)).changed_markets == (False,) * 4
    assert plan.cell((4, 1, 1)).changed_markets == (True,) * 4


def test_a_change_of_one_market_changes_one_market(quickstart):
    found = design.plan(made(quickstart, axes={"ETH.leverage_cap": [20, 25]}))
    assert [cell.changed_markets for cell in found.cells] == [(False, True, False, False), (False,) * 4]
    assert found.current_index == (1,)
    assert found.proposed_index is None


def test_what_followed_is_listed(plan):
    both = ("maintenance_rate", "maintenance_deduction", "initial_rate", "initial_deduction")
    assert plan.followed["leverage_cap"] == both
    assert plan.followed["maintenance_to_initial_ratio"] == both[:2]
    assert plan.followed["oracle_delay"] == ()


def test_path_axes_multiply_and_cells_do_not(quickstart):
    axes = {"volatility": [1, 1.5], "leverage_cap": [40], "depth": [0.5]}
    found = design.plan(made(quickstart, axes=axes))
    assert list(found.path_axes) == ["scenario", "volatility", "depth"]
    assert list(found.cell_axes) == ["leverage_cap"]
    assert [(p.scenario.name, p.axes) for p in found.path_points] == [
        (name, (volatility, 0.5, 0.0)) for name in ("stress", "panic") for volatility in (1.0, 1.5)
    ]


def test_responses_margin_modes_and_protocols_are_cell_axes(quickstart, reference):
    other = reference.model_copy(update={"name": "other"})
    axes = {"traders": ["keep_utilisation", "add_collateral"], "margin_mode": ["isolated", "cross"]}
    found = design.plan(made(quickstart, axes=axes, protocol=[reference, other]))
    assert list(found.cell_axes) == ["protocol", "traders", "margin_mode"]
    assert found.cell_axes["protocol"] == ("reference", "other")
    assert found.current_index == (0, 0, 1)
    last = found.cells[-1]
    assert (last.protocol.name, last.base.name) == ("other", "other")
    assert (last.response, last.margin_mode) == ("add_collateral", "cross")


def test_a_replay_stands_once_per_share_of_own_impact(quickstart, tmp_path):
    (tmp_path / "bars.csv").write_text("")
    entry = {"name": "day", "replay": str(tmp_path / "bars.csv"), "from": "2025-10-10", "impact_share": [0, 0.5]}
    found = design.plan(made(quickstart, axes={}, scenarios=[entry]))
    assert [p.scenario.impact_share for p in found.path_points] == [(0.0,), (0.5,)]
    assert len(set(found.path_axes["scenario"])) == 2
    assert found.cells[0].index == ()
    assert found.current_index == ()


def test_a_replay_that_says_nothing_of_its_impact_runs_without_and_at_each_venues_share(quickstart, tmp_path):
    (tmp_path / "bars.csv").write_text("")
    entry = {"name": "day", "replay": str(tmp_path / "bars.csv"), "from": "2025-10-10"}
    stated = made(quickstart, axes={}, scenarios=[entry | {"impact_share": [0.0]}])
    assert [p.scenario.impact_share for p in design.plan(stated).path_points] == [(0.0,)]
    silent = made(quickstart, axes={}, scenarios=[entry])
    assert quickstart.protocols[0].impact.arbitrage_share == 0.3
    assert [p.scenario.impact_share for p in design.plan(silent).path_points] == [(0.0,), (0.3,)]
    assert silent.content_hash not in (stated.content_hash, quickstart.content_hash)
    other = quickstart.protocols[0].model_dump(by_alias=True)
    other["impact"] |= {"arbitrage_share": 0.5}
    both = made(quickstart, axes={}, scenarios=[entry], protocol=[quickstart.protocols[0], other | {"name": "other"}])
    assert both.scenarios[0].impact_share == (0.0, 0.3, 0.5)


def test_a_replay_names_its_repairs_and_they_enter_its_hash(quickstart, tmp_path):
    times = [
        f"2025-10-10T{hour:02d}:00:00Z" for hour in range(24) for _ in range(1 + (hour == 5))
    ]  # 05:00 stands twice
    rows = [
        f"{time},{symbol},{price},{price},{price},{price}"
        for symbol, price in (("BTC", 100), ("ETH", 10))
        for time in times
    ]
    (tmp_path / "bars.csv").write_text("\n".join(["ts,symbol,open,high,low,close", *rows]))
    entry = {"replay": str(tmp_path / "bars.csv"), "from": "2025-10-10", "impact_share": [0]}
    plain = made(quickstart, axes={}, markets=["BTC", "ETH"], scenarios=[entry])
    with pytest.raises(StressError, match="duplicates=first"):
        Workbench(plain).source(0)
    repaired = made(quickstart, axes={}, markets=["BTC", "ETH"], scenarios=[entry | {"repair": ["duplicates=first"]}])
    assert Workbench(repaired).source(0).generate(0, 1).world.shape == (1, 1441, 2)
    assert repaired.content_hash != plain.content_hash


def test_the_protocols_own_values_are_current_where_they_are_on_the_grid(quickstart):
    assert design.plan(made(quickstart, axes={"leverage_cap": [20, 40]})).current_index == (1,)
    found = design.plan(made(quickstart, axes={"leverage_cap": [20, 50]}))
    assert found.current_index is None
    assert found.current[0] == quickstart.protocols[0]


def test_what_stays_may_be_stated_as_current(quickstart):
    found = design.plan(made(quickstart, axes={"leverage_cap": [20, 40]}, current={"oracle_delay": "60s"}))
    assert found.current_index == (1,)


# ---------------------------------------------------------------------------------------- explain


def test_explain_prints_the_study_that_it_reads_back(quickstart):
    text = design.explain(quickstart)
    resolved = text.split("Resolved study\n")[1].split("\n\nTime constants")[0]
    assert parse_document(textwrap.dedent(resolved)).data == quickstart.resolved()


def test_explain_marks_defaults_and_shows_time_constants_and_cost(quickstart):
    text = design.explain(quickstart)
    assert "loss_floor: 1e-06  # default" in text
    assert "traders: keep_utilisation\n" in text
    assert "oracle.oracle_delay = 1m: a whole multiple of the step, 1 step" in text
    assert "followed: maintenance_rate" in text
    assert f"{quickstart.paths:,} of 1,440 steps, in blocks of 64: {quickstart.paths // 64}" in text
    assert f"{quickstart.paths * 1440 * 500 * 100 * 2:,} account-steps" in text
    assert "on one core" not in text
    assert "about 1.5 minutes on one core if none is skipped" in design.explain(quickstart, core_seconds=90.0)


def test_a_shock_costs_one_path_and_accounts_are_those_of_the_book(quickstart):
    shock = {"name": "down", "shocks": {"BTC": -0.2}, "over": "10m"}
    axes = {"axes": {}, "current": {}, "proposed": None}
    with_shock = made(quickstart, scenarios=[*quickstart.scenarios, shock], **axes)
    paths = 2 * quickstart.paths + 1
    assert design.cost(with_shock, design.plan(with_shock), 7).account_steps == paths * 1440 * 7
    bench = Workbench(with_shock)
    accounts, seconds = bench.forecast()
    book = bench.book(bench.plan.cells[0], bench.source(0).initial_prices)
    assert accounts == book.cash.size > 500  # a trader with an isolated position has two
    assert seconds == pytest.approx(paths * sum(cost(with_shock, book.size.size)))


def test_time_constants_say_how_they_meet_the_step():
    protocol = load_protocol(CONFIGS / "protocols" / "hyperliquid.yaml")
    found = {constant.name: constant for constant in design.time_constants(protocol, 60.0)}
    delay, cooldown, average = (
        found["oracle.oracle_delay"],
        found["size.cooldown"],
        found["mark.premium_ema"],
    )
    assert (delay.seconds, delay.used, delay.steps, delay.rule) == (3.0, 0.0, 0, "must_resolve")
    assert (cooldown.seconds, cooldown.used, cooldown.steps, cooldown.rule) == (30.0, 60.0, 1, "rounded_up")
    assert (average.seconds, average.used, average.steps, average.rule) == (150.0, 150.0, None, "exact")
