"""The command line: perpstress run, explain, report, propose, compare, verify, path, peers, prices, replay,
calibrate, book.

Each command imports what it needs when it runs, so that `--help` answers at once.
"""

from __future__ import annotations

import sys
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import cyclopts

from stress.errors import StressError, StudyError, did_you_mean

if TYPE_CHECKING:
    from stress.config import Study

REFUSED = 2  # exit code of a StressError

app = cyclopts.App(
    name="perpstress",
    version=lambda: metadata.version("perpstress"),
    help="Stress-test the risk parameters of a perpetual-futures venue.",
    version_flags=["--version"],
    help_on_error=False,
    default_parameter=cyclopts.Parameter(negative_iterable=()),
)

MarketData = Annotated[Path, cyclopts.Parameter(help="Folder in which a study's price files are looked for.")]
Results = Annotated[Path, cyclopts.Parameter(help="Folder of all runs.")]
DATA = Path("../shared/data")


def data_folder(market_data: Path) -> Path | None:
    """Return the folder of price files; the default may be absent, since only some studies need it."""
    if market_data.is_dir():
        return market_data
    if market_data == DATA:
        return None
    raise StudyError(
        "is no folder",
        key="--market-data",
        value=str(market_data),
        fix="name the folder that holds the price files, or leave the option out if the study needs none",
    )


def _load(study: Path, market_data: Path) -> Study:
    from stress.config import load_study

    return load_study(study, market_data=data_folder(market_data))


@app.command
def run(
    study: Path,
    *,
    results: Results = Path("results"),
    market_data: MarketData = DATA,
    workers: int | None = None,
    scheduler: str | None = None,
    report: bool = True,
) -> None:
    """Run a study, or finish what an interrupted run left; print the verdict and write the report.

    Parameters
    ----------
    study
        The study file.
    workers
        Threads of this process; default: the cores of this machine.
    scheduler
        Address of a Dask scheduler whose workers see the same results folder.
    report
        Write report.html and report.md.
    """
    from stress import runs

    loaded = _load(study, market_data)
    if scheduler is None:
        finished = runs.run(loaded, results=results, workers=workers, progress=True)
    else:
        from stress.sweep import connect

        with connect(scheduler) as client:
            finished = runs.run(loaded, results=results, client=client, progress=True)
    finished.summary()
    page = finished.report() if report else None
    print(finished.where)
    if page is not None:
        print(f"report  {page}")


@app.command
def explain(study: Path, *, market_data: MarketData = DATA) -> None:
    """Print the resolved study, every default visible, and what it will cost.

    Parameters
    ----------
    study
        The study file.
    """
    from stress.design import explain as explained
    from stress.sweep import Workbench

    loaded = _load(study, market_data)
    accounts, seconds = Workbench(loaded).forecast()
    print(explained(loaded, accounts=accounts, core_seconds=seconds), end="")


@app.command
def report(run: Path) -> None:
    """Write the report of a finished run again and print the verdict.

    Parameters
    ----------
    run
        The run's folder.
    """
    from stress.runs import open_run

    finished = open_run(run)
    finished.summary()
    print(f"report  {finished.report()}")


@app.command
def propose(
    run: Path,
    *,
    out: Path | None = None,
    author: str | None = None,
    tag: str = "Risk",
    why_now: str | None = None,
    motivation: Path | None = None,
    conflicts: str | None = None,
    licence: str | None = None,
    step_limit: float | None = None,
) -> None:
    """Write the proposal of a finished run for a DAO: proposal.md for people, payload.json for machines.

    Parameters
    ----------
    run
        The run's folder; its study states `proposed`.
    out
        Folder to write to; default: `proposal` in the run's folder.
    author
        Who proposes.
    tag
        What stands before the title in brackets.
    why_now
        One sentence for the summary.
    motivation
        Text file: the observed problem with dated sources, paragraphs apart by an empty line.
    conflicts
        The author's conflicts of interest.
    licence
        Licence of the text.
    step_limit
        Largest accepted relative change of one parameter, such as 0.03.
    """
    from stress.runs import open_run

    text = None if motivation is None else _text(motivation, "--motivation")
    said = {"author": author, "why_now": why_now, "motivation": text, "conflicts": conflicts, "licence": licence}
    stated = {key: value for key, value in said.items() if value is not None}
    page = open_run(run).propose(out, tag=tag, step_limit=step_limit, **stated)
    print(f"proposal  {page}")
    print(f"payload   {page.with_name('payload.json')}")


@app.command
def compare(first: Path, second: Path, *, event: str = "mutualised_loss") -> None:
    """Compare the current and the proposed cell of two runs, on their common paths where they have any.

    Parameters
    ----------
    first
        Folder of the run to compare with.
    second
        Folder of the run that is compared.
    event
        mutualised_loss, fund_exhaustion, adl or market_makers_default.
    """
    from rich.console import Console

    from stress import runs

    Console().print(runs.comparison_table(runs.compare(runs.open_run(first), runs.open_run(second), event)))


@app.command
def verify(run: Path, *, block: int | None = None, scenario: str | None = None) -> None:
    """Compute one block of a run again and compare its hash with the store's.

    Parameters
    ----------
    run
        The run's folder.
    block
        Number of the block; default: one at random.
    scenario
        Name of the scenario; default: one at random.
    """
    import random

    from stress.runs import open_run

    finished = open_run(run)
    layout = finished.bench.layout
    points = [i for i, p in enumerate(finished.plan.path_points) if scenario in (None, p.values["scenario"])]
    if not points:
        names = finished.plan.path_axes["scenario"]
        raise StudyError("is not in the run", key="scenario", value=scenario, fix=did_you_mean(str(scenario), names))
    point = random.choice(points)
    blocks = -(-layout.paths[point] // layout.block_paths)
    if block is not None and not 0 <= block < blocks:
        raise StudyError("is not a block of the run", key="block", value=block, fix=f"use 0 to {blocks - 1}")
    chosen = random.randrange(blocks) if block is None else block
    now, stored = finished.verify(chosen, point)
    where = ", ".join(f"{name} {value}" for name, value in finished.plan.path_points[point].values.items())
    print(
        f"block {chosen} of {where}: {now} now, {stored} in the store: {'the same' if now == stored else 'DIFFERENT'}"
    )
    if now != stored:
        sys.exit(1)


@app.command
def prices(
    files: Annotated[list[Path], cyclopts.Parameter(consume_multiple=True)],
    *,
    repair: Annotated[list[str] | None, cyclopts.Parameter(consume_multiple=True)] = None,
    output: Annotated[Path | None, cyclopts.Parameter(name=["--output", "-o"])] = None,
    symbol: str | None = None,
    venue: str | None = None,
    time_zone: str = "UTC",
    each: bool = False,
) -> None:
    """Read files of prices, marks, funding, depth or quotes; print what they hold and their defects in one table.

    Parameters
    ----------
    files
        CSV, Parquet or JSON: tidy tables, ccxt rows, exchange klines with or without header.
    repair
        Rules, each defect=rule as the table offers them; nothing is changed without one.
    output
        Write the repaired tables to this .parquet or .csv; refused while something wrong is left.
    symbol
        Symbol of files that do not say it.
    venue
        Venue of files that do not say it.
    time_zone
        Time zone of times that state none, such as Asia/Tokyo.
    each
        One row for each series instead of one for each defect.
    """
    import pandas as pd
    from rich.console import Console
    from rich.table import Table

    from stress import observations
    from stress.sources import read

    rules = observations.parse_rules(repair or [])
    stated = observations.Reading(symbol, venue, time_zone)
    table = Table(*observations.COLUMNS)
    repaired, done = [], []
    for file in files:
        seen = read(file, stated)
        found = observations.find(seen)
        table.add_row(*map(str, observations.describe(seen)[:6]), style="bold")
        for row in observations.rows(seen, found, each=each):
            style = "red" if row.wrong and row.defect not in rules else None
            table.add_row(*(str(cell) if cell else "" for cell in row[:6]), style=style)
        if rules or output:
            after, said = observations.repair(seen, rules)
            done += [f"{file.name}: {text}" for text in said]
            if output:
                observations.refuse(after, observations.find(after), rules)
            repaired.append(after)
    Console(width=None if sys.stdout.isatty() else 180).print(table)
    print("\n".join(done) if done or not rules else "no rule found anything to repair")
    if output:
        kinds = {seen.kind for seen in repaired}
        if len(kinds) > 1:
            raise StudyError("one table holds one kind", key="--output", value=", ".join(sorted(kinds)))
        tidy = pd.concat([seen.table.drop(columns="row") for seen in repaired], ignore_index=True)
        tidy = tidy.sort_values(["venue", "symbol", "ts"], kind="stable")
        if output.suffix == ".csv":
            tidy.to_csv(output, index=False, date_format="%Y-%m-%dT%H:%M:%S.%fZ")
        elif output.suffix == ".parquet":
            tidy.to_parquet(output, index=False)
        else:
            raise StudyError("is neither .csv nor .parquet", key="--output", value=str(output))
        print(output)


@app.command
def peers(*, vectors: Path = Path("tests/peer")) -> None:
    """Hold the shelf against venues' own test vectors; exit code 1 where one does not agree.

    Parameters
    ----------
    vectors
        Folder of *.json files of vectors.
    """
    from rich.console import Console
    from rich.table import Table

    from stress.peers import check, tally

    agreements = check(vectors)
    table = Table("venue", "mechanism", "agree")
    for (protocol, mechanism), (held, seen) in tally(agreements).items():
        table.add_row(protocol, mechanism, f"{held} of {seen}", style=None if held == seen else "bold red")
    Console().print(table)
    failed = [agreement for agreement in agreements if not agreement.holds]
    for agreement in failed:
        print(f"{agreement.vector.file}: {agreement.vector.id}: {'; '.join(agreement.differs)}")
    print(f"{len(agreements) - len(failed)} of {len(agreements)} vectors agree")
    if failed:
        sys.exit(1)


@app.command
def path(
    run: Path, *, path: int, scenario: str | None = None, cell: str | None = None, csv: Path | None = None
) -> None:
    """Replay one path of one cell, step by step.

    Parameters
    ----------
    run
        The run's folder.
    path
        Number of the path, as in the loss rows.
    scenario
        Name of the scenario; default: the first.
    cell
        Values of cell axes, such as leverage_cap=40,oracle_delay=60s; the others are those of the current cell.
    csv
        Write every step to this file instead of printing the steps that matter.
    """
    from stress import runs

    finished = runs.open_run(run)
    names = finished.plan.path_axes["scenario"]
    chosen = names[0] if scenario is None else scenario
    if chosen not in names:
        raise StudyError("is not in the run", key="scenario", value=scenario, fix=did_you_mean(chosen, names))
    table = runs.trace_table(finished, chosen, finished.find_cell(_values(cell)), path)
    if csv is not None:
        table.to_csv(csv, index=False)
        print(csv)
        return
    closing = table[(table.liquidated_notional > 0) | (table.adl_notional > 0) | (table.bad_debt > 0)]
    print(f"{len(table)} rows, of them {len(closing)} with a liquidation, a deleveraging or bad debt (--csv FILE: all)")
    print(closing.to_string(index=False) if len(closing) else "nothing happened on this path")


@app.command
def book(
    file: Path,
    *,
    market: Path = Path("configs/markets/house.yaml"),
    prices: Annotated[list[str] | None, cyclopts.Parameter(consume_multiple=True)] = None,
    format: str = "detect",
    other_markets: str = "refuse",
    scale: float = 1.0,
    open_interest: float | None = None,
    resample: int | None = None,
    seed: int = 0,
    plot: Path | None = None,
) -> None:
    """Read a book of accounts, name every bad entry, and print what it looks like.

    Parameters
    ----------
    file
        Table of positions (.csv, .parquet: trader, margin_mode, market, size, entry_price, collateral), or responses
        of Hyperliquid's clearinghouseState or of dYdX's indexer (.json).
    market
        Market file; its markets and prices.
    prices
        MARKET=PRICE, instead of the market file's.
    format
        detect, tidy, hyperliquid or dydx.
    other_markets
        refuse, or drop positions in markets that the market file does not know.
    scale
        Factor on all sizes and collateral.
    open_interest
        Scale to this open interest instead, USD, one side.
    resample
        Draw this many traders with replacement, each with all accounts.
    seed
        Key of the draws.
    plot
        Draw the book to this .svg or .png.
    """
    import numpy as np
    from pydantic import ValidationError
    from rich.console import Console
    from rich.table import Table

    from stress import accounts, config
    from stress.report import books

    model = config.load_market(market)
    at = {name: one.price for name, one in model.markets.items()}
    for name, text in _pairs(prices, "--prices").items():
        try:
            price = float(text)
        except ValueError:
            price = 0.0
        if name not in at or not 0 < price < float("inf"):
            fix = did_you_mean(name, at) if name not in at else "give USD per base unit, such as BTC=60000"
            raise StudyError("is a price of a market, above 0", key="--prices", value=f"{name}={text}", fix=fix)
        at[name] = price
    if plot is not None and plot.suffix not in (".svg", ".png"):
        raise StudyError("is neither .svg nor .png", key="--plot", value=str(plot))
    wanted = {"path": str(file), "format": format, "other_markets": other_markets}
    try:
        spec = accounts.SnapshotBook(
            **wanted,
            scale=scale if open_interest is None else {"open_interest": open_interest},
            resample=None if resample is None else {"accounts": resample},
        )
    except ValidationError as invalid:
        first = invalid.errors()[0]
        raise StudyError(
            first["msg"], key="--" + str(first["loc"][0]).replace("_", "-"), value=first["input"]
        ) from None
    made = accounts.read_book(spec, markets=tuple(at), prices=np.array(list(at.values())), seed=seed)
    told = accounts.summary(made, np.array(list(at.values())))
    table = Table(*books.COLUMNS, title=f"{file.name} at prices of {market.name}{' and --prices' if prices else ''}")
    for row in books.market_rows(told):
        table.add_row(*row)
    Console().print(table)
    print("\n".join(books.lines(told)))
    if plot is not None:
        books.draw(made, np.array(list(at.values())), told, plot)
        print(f"plot    {plot}")


@app.command
def calibrate(
    prices: Annotated[list[Path], cyclopts.Parameter(consume_multiple=True)],
    *,
    output: Annotated[Path, cyclopts.Parameter(name=["--output", "-o"])],
    template: Path = Path("configs/markets/house.yaml"),
    markets: Annotated[list[str] | None, cyclopts.Parameter(consume_multiple=True)] = None,
    repair: Annotated[list[str] | None, cyclopts.Parameter(consume_multiple=True)] = None,
    replicates: int = 100,
    samples: int = 40,
    layer: str = "parametric",
    depth: Annotated[list[Path] | None, cyclopts.Parameter(consume_multiple=True)] = None,
    seed: int = 0,
) -> None:
    """Fit a market file to hourly price bars, and write a page that holds the data against the fit.

    Parameters
    ----------
    prices
        Files of hourly bars, in any shape that `perpstress prices` reads.
    output
        Market file to write; the page goes beside it, with the suffix .html.
    template
        Market file from which comes what prices cannot identify (depth, open interest, premium).
    markets
        Markets to fit; default: all of the files.
    repair
        Rules, each defect=rule, as `perpstress prices` offers them.
    replicates
        Bootstrap replicates behind the standard errors.
    samples
        Simulated samples behind the bands of the page.
    layer
        parametric; or block_bootstrap, garch_fhs: paths are drawn from the hours of the one price file, which a study
        then looks for in --market-data.
    depth
        Files of depth samples (USD within 1 % of the mid, both sides): depth.phi and depth_usd are fitted to them.
    seed
        Key of bootstrap and simulation.
    """
    from stress import calibration, config, observations
    from stress.paths import PriceData
    from stress.provenance import file_hash
    from stress.sources import read, read_prices

    if output.suffix not in (".yaml", ".yml"):
        raise StudyError("a market file ends in .yaml", key="--output", value=str(output))
    rules = observations.parse_rules(repair or [])
    kept = config.load_market(template)
    histories = [calibration.by_market(read_prices(file, rules)) for file in prices]
    data = [
        PriceData(file=file.name, blake2b=file_hash(file), markets=tuple(sorted(history.table["symbol"].unique())))
        for file, history in zip(prices, histories, strict=True)
    ]
    measured = []
    for file in depth or []:
        seen = read(file)
        observations.refuse(seen, observations.find(seen), {})
        measured.append(calibration.by_hour(seen, file_hash(file)))
    fitted = calibration.calibrate(
        histories,
        kept,
        name=output.stem,
        data=data,
        samples=measured,
        markets=markets,
        replicates=replicates,
        seed=seed,
    )
    model = fitted.model
    if layer != "parametric":
        model = calibration.with_hours(model, layer, fitted.panel, repair or [], replicates=replicates, seed=seed)
    output.parent.mkdir(parents=True, exist_ok=True)
    output.write_text(calibration.as_yaml(model), encoding="utf-8")
    assert model.calibration is not None  # it was just fitted
    for warning in model.calibration.warnings:
        print(f"warning {warning}")
    print(f"market  {output}")
    found = calibration.compare(fitted.draws or (model,), fitted.panel, replicates=samples, seed=seed + 1)
    page = output.with_suffix(".html")
    page.write_text(calibration.page(model, found, fitted.panel), encoding="utf-8")
    print(f"page    {page}")


@app.command
def replay(
    event: str | None = None,
    *,
    protocol: str = "protocols/reference.yaml",
    market: str = "markets/house.yaml",
    markets: Annotated[list[str] | None, cyclopts.Parameter(consume_multiple=True)] = None,
    accounts: int = 1000,
    impact_share: Annotated[tuple[float, ...] | None, cyclopts.Parameter(consume_multiple=True)] = None,
    severity: float | None = None,
    time_compression: float | None = None,
    volatility_to: Annotated[list[str] | None, cyclopts.Parameter(consume_multiple=True)] = None,
    offset: Annotated[list[str] | None, cyclopts.Parameter(consume_multiple=True)] = None,
    map: Annotated[list[str] | None, cyclopts.Parameter(consume_multiple=True)] = None,
    anchors: bool = False,
    study_only: bool = False,
    configs: Path = Path("configs"),
    results: Results = Path("results"),
    market_data: MarketData = DATA,
) -> None:
    """Replay a dated event: from your price file where --market-data holds it, else from its stated anchors.

    Parameters
    ----------
    event
        Name of a file in configs/scenarios; without it, they are listed.
    protocol
        Protocol file.
    market
        Market file.
    markets
        Markets to simulate; default: those of the event that market file, protocol and data know.
    accounts
        Accounts of the synthetic book.
    impact_share
        Shares of own impact to run at; default: 0, since history holds its own cascade already, and the
        share of flow that the venue states.
    severity
        Multiple of all log moves of history.
    time_compression
        History runs this much faster.
    volatility_to
        MARKET=0.6: rescale a market of history to a yearly volatility.
    offset
        Start history this much later (or earlier, -6h); one run each.
    map
        MARKET=ASSET: a market takes the moves of an asset of the event; MARKET=ASSET*1.4: that multiple of its log moves.
    anchors
        Use the anchors even where history is there.
    study_only
        Write the study file and stop.
    configs
        Folder with protocols, markets and scenarios.
    """
    import yaml

    from stress import config

    if event is None:
        for name in config.events(configs):
            title = config.read_document(configs / "scenarios" / f"{name}.yaml").data.get("title", "")
            print(f"{name:20s} {title}")
        return
    changes = {
        "severity": severity,
        "time_compression": time_compression,
        "volatility_to": {
            name: _positive(value, "--volatility-to")
            for name, value in _pairs(volatility_to, "--volatility-to").items()
        },
        "offset": offset,
    }
    mapped = {name: asset.partition("*") for name, asset in _pairs(map, "--map").items()}
    asked = config.Replay(
        protocol, market, None if markets is None else tuple(markets), accounts, impact_share,
        {name: asset for name, (asset, _, _) in mapped.items()},
        {name: _positive(beta, "--map") for name, (_, sign, beta) in mapped.items() if sign},
        {key: value for key, value in changes.items() if value}, anchors,
    )  # fmt: skip
    values, said = config.replay_study(event, asked, configs=configs, market_data=data_folder(market_data))
    file = results / "studies" / f"replay_{event.replace('-', '_')}.yaml"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(f"# {said}\n{yaml.safe_dump(values, sort_keys=False, width=120)}", encoding="utf-8")
    print(f"study   {file} ({said})")
    if not study_only:
        run(file, results=results, market_data=market_data)


def _positive(text: str, option: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < float("inf"):
        raise StudyError("is a number above 0", key=option, value=text, fix="write it as 0.6 or 1.4")
    return value


def _text(file: Path, option: str) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise StudyError(f"is no text file: {error}", key=option, value=str(file), fix="give a UTF-8 text") from None


def _pairs(stated: list[str] | None, option: str) -> dict[str, str]:
    pairs = [text.partition("=") for text in stated or ()]
    for name, sign, value in pairs:
        if not (name and sign and value):
            raise StudyError("is given as NAME=VALUE", key=option, value=name + sign + value)
    return {name: value for name, _, value in pairs}


def _values(text: str | None) -> dict[str, str]:
    """Return {axis: value} from 'axis=value,axis=value'."""
    pairs = [pair.partition("=") for pair in (text or "").split(",") if pair]
    for name, sign, _ in pairs:
        if not sign:
            raise StudyError("a cell is given as axis=value,axis=value", key="cell", value=name)
    return {name.strip(): value.strip() for name, _, value in pairs}


def main(arguments: list[str] | None = None) -> Any:
    """Run a command; an error that a user can cause is printed without a traceback, exit code 2."""
    try:
        return app(arguments)
    except StressError as error:
        print(error, file=sys.stderr)
        sys.exit(REFUSED)
    except KeyboardInterrupt:
        print("interrupted; run the same command again to go on from the last finished block", file=sys.stderr)
        sys.exit(130)
