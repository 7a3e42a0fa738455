"""What the documentation shows of the code is what the code says."""

from pathlib import Path

from app.core.transitions import mermaid

ROOT = Path(__file__).resolve().parents[2]


def test_the_status_diagram_in_the_docs_is_made_from_the_transition_table() -> None:
    page = (ROOT / "docs" / "architecture.md").read_text()
    shown = page.split("<!-- transitions:begin -->")[1].split("<!-- transitions:end -->")[0]
    assert shown.strip() == f"```mermaid\n{mermaid()}\n```"
