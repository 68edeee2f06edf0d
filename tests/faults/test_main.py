"""The table of a matrix is whole, whatever happens to its runs."""
import json

import main


def test_a_fault_that_is_skipped_is_in_the_table(tmp_path, monkeypatch):
    """It was in none where all were skipped: who reads the table failed, instead of skipping, too."""
    table = tmp_path / "table.json"
    monkeypatch.setattr(main.tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(main.network, "enter", lambda: None)
    monkeypatch.setattr(main.run.clusters, "missing", lambda binary: None)
    monkeypatch.setattr(main.scenes, "why_not", lambda fault, known: "it needs root")
    assert main.main(["--run", "cut-leader", "--json", str(table)]) == 0
    found = json.loads(table.read_text())
    assert (found["rows"], found["skipped"]) == ([], {"cut-leader": "it needs root"})
    assert list(tmp_path.iterdir()) == [table]  # every run left an empty folder once
