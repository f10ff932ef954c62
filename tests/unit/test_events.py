"""Dated events: every file is whole and sourced; a replay is made from history where there is some, else from anchors."""

import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml

from stress.cli import main
from stress.config import Replay, events, load_study, replay_study
from stress.config.events import read_event
from stress.errors import StudyError
from stress.paths import compose

CONFIGS = Path(__file__).parents[2] / "configs"
REGIMES = ("calm", "stress", "panic")


@pytest.mark.parametrize("name", events(CONFIGS))
def test_every_event_is_whole_and_every_value_has_a_source(name):
    event = read_event(name, CONFIGS, REGIMES)
    assert event.begins.date().isoformat()[:4] == name[:4]
    assert {value.source for _, value in event.tagged} == set(event.sources)
    for key, value in event.tagged:
        assert value.known in ("measured", "reported", "assumed"), key


def study_of(tmp_path, name, asked, market_data=None):
    values, said = replay_study(name, asked, configs=CONFIGS, market_data=market_data)
    folder = tmp_path / "configs"
    if not folder.exists():
        folder.symlink_to(CONFIGS)
    file = tmp_path / "study.yaml"
    file.write_text(yaml.safe_dump(values))
    return load_study(file, market_data=market_data), said


@pytest.mark.parametrize("name", events(CONFIGS))
def test_every_event_runs_from_its_anchors_alone(tmp_path, name):
    study, said = study_of(tmp_path, name, Replay())
    assert said.startswith("an anchor path, not historical data")
    (scenario,) = study.scenarios
    source = compose(study.market, scenario, markets=study.markets, horizon=study.horizon, step=study.step, seed=1)
    world = source.generate(0, 2).world
    assert (world > 0).all()
    for i, market in enumerate(study.markets):
        asset = scenario.map.get(market, market)
        if asset in scenario.anchors:
            curve = scenario.anchors[asset].points
            at = [round(time / study.step) for time, _ in curve]
            np.testing.assert_allclose(
                world[:, at, i] / world[:, :1, i], [[ratio for _, ratio in curve]] * 2, rtol=1e-9
            )


def history(folder):
    """Hourly bars of BTC and ETH over the event, under the name by which the event knows its file."""
    times = pd.date_range("2020-03-12T00:00Z", periods=48, freq="1h")
    fall = 8000 * np.exp(-0.01 * np.arange(49.0))
    frames = [
        pd.DataFrame(
            {
                "ts": times,
                "symbol": name,
                "open": fall[:-1] * scale,
                "high": fall[:-1] * scale * 1.001,
                "low": fall[1:] * scale * 0.999,
                "close": fall[1:] * scale,
            }
        )
        for name, scale in (("BTC", 1.0), ("ETH", 0.025))
    ]
    pd.concat(frames).to_parquet(folder / "binance_spot_1h.parquet")
    return folder


def test_history_is_taken_where_the_user_has_it_with_the_transforms(tmp_path):
    data = history(tmp_path)
    asked = Replay(transforms={"severity": 1.5, "time_compression": 2.0, "offset": ["0s", "6h"]})
    study, said = study_of(tmp_path, "2020-03-12", asked, data)
    assert said == "history, from binance_spot_1h.parquet"
    assert study.markets == ("BTC", "ETH")
    (scenario,) = study.scenarios
    assert (scenario.severity, scenario.time_compression, study.horizon) == (1.5, 2.0, 12 * 3600)
    assert [float(t) for t in scenario.offset] == [0, 6 * 3600]
    asked = Replay(map={"SOL": "ETH"}, betas={"SOL": 1.4}, markets=("BTC", "SOL"))
    mapped, _ = study_of(tmp_path, "2020-03-12", asked, data)
    assert (mapped.markets, mapped.scenarios[0].source_of("SOL").beta) == (("BTC", "SOL"), 1.4)
    anchored, said = study_of(tmp_path, "2020-03-12", Replay(anchors_only=True), data)
    assert "--anchors" in said
    assert anchored.scenarios[0].kind == "anchors"


def test_a_market_takes_the_moves_that_a_user_maps(tmp_path):
    study, _ = study_of(tmp_path, "2025-03-26-jelly", Replay(map={"SOL": "JELLY"}, markets=("BTC", "SOL")))
    assert study.scenarios[0].map["SOL"] == "JELLY"
    assert study.markets == ("SOL", "BTC")


@pytest.mark.parametrize(
    ("name", "asked", "key"),
    [
        ("2020-03-13", Replay(), "EVENT"),
        ("2020-03-12", Replay(transforms={"severity": 2.0}), "--severity"),
        ("2020-03-12", Replay(map={"SOL": "ETH"}, betas={"SOL": 1.4}), "--map"),
        ("2020-03-12", Replay(markets=("BTCC",)), "--markets"),
        ("2020-03-12", Replay(map={"BTCC": "ETH"}), "--map"),
    ],
)
def test_what_cannot_be_replayed_is_refused(name, asked, key):
    with pytest.raises(StudyError) as refused:
        replay_study(name, asked, configs=CONFIGS, market_data=None)
    assert refused.value.key == key
    assert refused.value.fix


def test_the_command_lists_events_and_writes_the_study(tmp_path, capsys):
    with pytest.raises(SystemExit, match="0"):
        main(["replay", "--configs", str(CONFIGS)])
    assert "2025-10-10           10 October 2025, minutes without a book\n" in capsys.readouterr().out
    with pytest.raises(SystemExit, match="0"):
        main(["replay", "2021-05-19", "--study-only", "--configs", str(CONFIGS), "--results", str(tmp_path),
              "--market-data", str(history(tmp_path))])  # fmt: skip
    assert "history" in capsys.readouterr().out
    written = yaml.safe_load((tmp_path / "studies" / "replay_2021_05_19.yaml").read_text())
    assert written["markets"] == ["BTC", "ETH"]
    assert written["scenarios"][0]["impact_share"] == [0.0, 0.3]  # none, and what the reference venue states of itself
    with pytest.raises(SystemExit, match="2"):
        main(["replay", "2021-05-19", "--market-data", str(tmp_path / "nowhere"), "--configs", str(CONFIGS)])
    said = capsys.readouterr().err
    assert re.search(r"--market-data = '.*nowhere'", said)
    for wrong in (["--map", "SOL=ETH*many"], ["--volatility-to", "BTC=-1"]):
        with pytest.raises(SystemExit, match="2"):
            main(["replay", "2021-05-19", *wrong, "--configs", str(CONFIGS), "--results", str(tmp_path)])
        assert "is a number above 0" in capsys.readouterr().err
    with pytest.raises(SystemExit, match="2"):
        main(["replay", "2021-05-19", "--map", "SOL", "--configs", str(CONFIGS), "--results", str(tmp_path)])
