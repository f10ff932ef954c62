"""The study file: what YAML means here, what is resolved, what the content hash depends on."""

from __future__ import annotations

import json
import pickle
from pathlib import Path

import pytest
from pydantic import Field, create_model

from stress import config
from stress.config import Study, load_protocol, load_study, parse_document
from stress.errors import StudyError
from stress.mechanisms import shelf
from stress.stages import CONTRACTS, Seconds, Stage

CONFIGS = Path(__file__).parents[2] / "configs"
QUICKSTART = CONFIGS / "studies" / "quickstart.yaml"
PATHS = next(line for line in QUICKSTART.read_text().splitlines() if line.startswith("paths:"))


@pytest.fixture(scope="module")
def quickstart() -> Study:
    return load_study(QUICKSTART)


def edited(tmp_path: Path, *edits: tuple[str, str], name: str = "study.yaml") -> Study:
    """Load the quickstart with some text replaced, from another folder."""
    text = QUICKSTART.read_text()
    for folder in ("protocols", "markets"):
        text = text.replace(f"{folder}/", f"{CONFIGS / folder}/")
    for old, new in edits:
        assert old in text
        text = text.replace(old, new)
    (tmp_path / name).write_text(text)
    return load_study(tmp_path / name)


# ------------------------------------------------------------------------------------------ YAML


def test_plain_scalars_mean_what_they_look_like():
    document = parse_document("a: [1, 1_000, 2.5, 1e-6, .5, yes, 1:30, 010, '40', ~, null, True, 60s, 2025-10-10]\n")
    expected = [1, 1000, 2.5, 1e-6, 0.5, "yes", "1:30", 10, "40", None, None, True, "60s", "2025-10-10"]
    assert document.data["a"] == expected
    assert [type(value) for value in document.data["a"]] == [type(value) for value in expected]


def test_every_key_and_list_item_has_its_line():
    document = parse_document("a: 1\n\nb:\n  c: [1,\n    2]\n  # comment\n  d: {e: 5}\n")
    assert document.lines == {
        ("a",): 1,
        ("b",): 3,
        ("b", "c"): 4,
        ("b", "c", 0): 4,
        ("b", "c", 1): 5,
        ("b", "d"): 7,
        ("b", "d", "e"): 7,
    }
    assert document.line(("b", "d", "unknown", 3)) == 7


# ---------------------------------------------------------------------------------------- studies


@pytest.mark.parametrize("path", sorted((CONFIGS / "protocols").glob("*.yaml")), ids=lambda path: path.stem)
def test_every_protocol_reads_and_fulfils_the_stages(path):
    protocol = load_protocol(path)
    assert protocol.name == path.stem
    stages = [mechanism.stage for mechanism, _ in protocol.rules()]
    assert stages == sorted(stages, key=list(CONTRACTS).index)
    for stage, contract in CONTRACTS.items():
        assert stages.count(stage) >= contract.at_least
        assert contract.at_most is None or stages.count(stage) <= contract.at_most
    assert protocol.terms("BTC", 60.0)


def test_the_quickstart_is_the_study_of_the_design(quickstart):
    assert quickstart.name == "quickstart"
    assert quickstart.markets == ("BTC", "ETH", "SOL", "DOGE")
    assert (quickstart.horizon, quickstart.step, quickstart.steps) == (86400.0, 60.0, 1440)
    assert [scenario.name for scenario in quickstart.scenarios] == ["stress", "panic"]
    assert quickstart.axes["oracle_delay"] == (0.0, 60.0, 120.0, 300.0, 600.0)
    assert all(isinstance(value, Seconds) for value in quickstart.axes["oracle_delay"])
    assert quickstart.tolerance is not None
    assert (quickstart.tolerance.probability, quickstart.tolerance.confidence) == (0.01, 0.95)
    assert quickstart.loss_floor == 1e-6


@pytest.mark.parametrize(
    ("paths", "size"),
    [(1, 1), (32, 32), (64, 64), (4096, 64), (32768, 128), (65536, 256), (1 << 22, 16384), (1 << 24, 16384)],
)
def test_a_block_is_a_power_of_two_near_a_256th_of_the_run(tmp_path, paths, size):
    study = edited(tmp_path, (PATHS, f"paths: {paths}"))
    assert study.block_size == size
    assert study.blocks * size == paths


def test_files_are_found_beside_the_study_then_below_configs_then_in_the_market_data(tmp_path):
    studies, data = tmp_path / "configs" / "studies", tmp_path / "data"
    for folder in (studies, data):
        folder.mkdir(parents=True)
    origin = config.references.Origin(parse_document("a: 1"), studies, data)
    for place in (data, tmp_path / "configs", studies):
        (place / "file").write_text("")
        assert origin.locate("file") == place / "file"


def test_a_scenario_file_is_named_like_a_regime(tmp_path, quickstart):
    folder = tmp_path / "scenarios"
    folder.mkdir()
    (folder / "gap.yaml").write_text("shocks: {BTC: -0.3}\nover: 1m\n")
    study = edited(tmp_path, ("[stress, panic]", "[stress, gap]"))
    assert [(scenario.kind, scenario.name) for scenario in study.scenarios] == [("regime", "stress"), ("shock", "gap")]
    (folder / "gap.yaml").write_text("shocks: {BTC: -0.3}\nover: 60\n")
    with pytest.raises(StudyError, match="a number and a unit") as caught:
        edited(tmp_path, ("[stress, panic]", "[stress, gap]"))
    assert Path(str(caught.value.file)).name == "gap.yaml"
    assert caught.value.line == 2


def test_a_study_made_in_python_is_the_same_study(quickstart):
    values = parse_document(QUICKSTART.read_text()).data
    values |= {"protocol": load_protocol(CONFIGS / "protocols" / "reference.yaml"), "market": quickstart.market}
    assert Study(**values).content_hash == quickstart.content_hash
    with pytest.raises(StudyError, match="greater than or equal") as caught:
        Study(**values | {"seed": -1})
    assert (caught.value.key, caught.value.value) == ("seed", -1)


def test_the_resolved_study_reads_back_and_travels(quickstart):
    stored = json.loads(json.dumps(quickstart.resolved()))
    assert Study(**stored) == quickstart
    sent = pickle.loads(pickle.dumps(quickstart))
    assert sent == quickstart
    assert sent.locate("markets/house.yaml") == CONFIGS / "markets" / "house.yaml"
    with pytest.raises(Exception, match="frozen"):
        quickstart.seed = 1


# ------------------------------------------------------------------------------------------- hash


@pytest.mark.parametrize(
    "edit",
    [
        ("60s\naxes", "1m\naxes"),
        ("horizon: 24h", "horizon: 1d"),
        ("probability: 1%", "probability: 0.01"),
        ("traders: keep_utilisation\n", ""),
        ("seed: 20261122", "loss_floor: 1.0e-6\nseed: 20261122  # a comment"),
        (PATHS, PATHS + "  # as many"),
    ],
)
def test_another_way_to_write_the_same_study_has_the_same_hash(tmp_path, quickstart, edit):
    study = edited(tmp_path, edit, name="other_name.yaml")
    assert study.name == "other_name"
    assert study.content_hash == quickstart.content_hash


@pytest.mark.parametrize(
    "edit",
    [
        ("seed: 20261122", "seed: 1"),
        (PATHS, "paths: 8192"),
        ("[stress, panic]", "[panic, stress]"),
        ("accounts: 500", "accounts: 501"),
        ("confidence: 95%", "confidence: 99%"),
        ("[10, 20, 25, 40, 50]", "[20, 10, 25, 40, 50]"),
        ("proposed: {leverage_cap: 50}", "proposed: {leverage_cap: 20}"),
    ],
)
def test_another_study_has_another_hash(tmp_path, quickstart, edit):
    assert edited(tmp_path, edit).content_hash != quickstart.content_hash


def test_a_protocol_enters_the_hash_by_its_content(tmp_path, quickstart):
    text = (CONFIGS / "protocols" / "reference.yaml").read_text()
    (tmp_path / "mine.yaml").write_text(text)
    reference = str(CONFIGS / "protocols" / "reference.yaml")
    assert edited(tmp_path, (reference, "mine.yaml")).content_hash == quickstart.content_hash
    (tmp_path / "mine.yaml").write_text(text.replace("impact_at_depth: 0.01", "impact_at_depth: 0.02"))
    assert edited(tmp_path, (reference, "mine.yaml")).content_hash != quickstart.content_hash


def test_a_data_file_enters_by_its_bytes_not_by_its_path(tmp_path):
    def study(folder: str, byte: str) -> Study:
        (tmp_path / folder).mkdir(exist_ok=True)
        (tmp_path / folder / "bars.csv").write_text(byte)
        entry = f"[{{name: day, replay: {folder}/bars.csv, from: '2025-10-10'}}]"
        return edited(tmp_path, ("[stress, panic]", entry))

    first = study("here", "a")
    assert study("there", "a").content_hash == first.content_hash
    assert study("there", "b").content_hash != first.content_hash
    stored = first.resolved()
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "study.json").write_text(json.dumps(stored))
    assert load_study(tmp_path / "elsewhere" / "study.json") == first
    sent = load_study(tmp_path / "elsewhere" / "study.json", data_files=first.data_files())
    assert sent.locate("here/bars.csv") == tmp_path / "here" / "bars.csv"
    (tmp_path / "here" / "bars.csv").write_text("changed")
    with pytest.raises(StudyError, match="not the one the study was run with"):
        Study(
            **stored
            | {
                "scenarios": [stored["scenarios"][0] | {"replay": str(tmp_path / "here" / "bars.csv")}],
                "data_hashes": {str(tmp_path / "here" / "bars.csv"): first.data_hashes["here/bars.csv"]},
            }
        )


def test_a_new_optional_key_at_its_default_does_not_change_the_hash(quickstart):
    later = create_model("Later", __base__=Study, new_key=(float, Field(default=0.0)))
    assert later(**quickstart.resolved()).content_hash == quickstart.content_hash
    assert later(**quickstart.resolved(), new_key=1.0).content_hash != quickstart.content_hash


def test_the_hash_of_the_quickstart_is_pinned_by_its_parts(quickstart):
    """The hash is BLAKE2b-128 of canonical JSON: computed here a second time, by hand."""
    import hashlib

    content = quickstart.resolved(exclude_defaults=True)
    del content["name"]
    for source in content["protocol"][0]["sources"]:
        del source["values"]
    content = {"block_size": 64} | content
    text = json.dumps(content, separators=(",", ":"), allow_nan=False)
    assert quickstart.content_hash == hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


# --------------------------------------------------------------------------------------- protocol


def test_rules_are_models_of_their_mechanisms_and_travel():
    protocol = load_protocol(CONFIGS / "protocols" / "reference.yaml")
    for mechanism, parameters in protocol.rules():
        assert isinstance(parameters, mechanism.parameters)
        assert shelf()[mechanism.name] is mechanism
    assert pickle.loads(pickle.dumps(protocol)) == protocol
    assert protocol.lists("BTC")
    assert not protocol.lists("NONE")


def test_a_rule_is_exchanged_by_its_name(tmp_path):
    text = (CONFIGS / "protocols" / "reference.yaml").read_text()
    start, end = text.index("size:\n"), text.index("execution:\n")
    (tmp_path / "p.yaml").write_text(text[:start] + "size:\n  rule: full_size\n" + text[end:])
    rules = load_protocol(tmp_path / "p.yaml").rules()
    assert [mechanism.name for mechanism, _ in rules if mechanism.stage is Stage.SIZE] == ["full_size"]
