"""Write golden values, README's table and the example report anew; say by how much each variable moved (make golden)."""

from __future__ import annotations

from tests.golden.studies import (
    README,
    ROOT,
    STUDIES,
    digest,
    example,
    file_of,
    measured,
    moved,
    printed,
    stored,
    text_of,
)


def main() -> None:
    """Rewrite every golden file; print the largest relative move per variable, then what CHANGELOG must say."""
    for name in STUDIES:
        now = measured(name)
        before = stored(name) if file_of(name).exists() else {}
        print(f"{name}: {len(now)} variables, {sorted(before.keys() - now.keys()) or 'none'} dropped")
        for variable, values in now.items():
            if variable not in before or len(before[variable]) != len(values):
                print(f"  {variable:45s} new")
            elif (largest := moved(variable, before[variable], values)) > 0:
                print(f"  {variable:45s} {largest:.3g}")
        file_of(name).write_text(text_of(now))
    page = ROOT / "README.md"
    page.write_text(
        README.sub(lambda found: found[1] + printed("reference") + "\n" + found[3].lstrip(), page.read_text())
    )
    example("reference", ROOT / "results/example")
    print(f"Under *Numerics changed* in CHANGELOG.md, say what moved, how much and why, with: golden `{digest()}`")


main()
