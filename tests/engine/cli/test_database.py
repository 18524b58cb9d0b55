"""What ``run`` says of ``storage.database`` before it connects to anything."""

from pathlib import Path

import pytest

from engine.cli.run import run

HEAD = "telegram: {api_id: 1, api_hash: 0123456789abcdef0123456789abcdef}\naccounts: [{name: A, session: a}]\n"
DATABASE = "storage: {database: 'postgresql://u:secret@127.0.0.1:1/holdfast'}\n"


def refused(tmp_path: Path, capsys: pytest.CaptureFixture[str], rest: str) -> str:
    """Run a config that is refused; return what was said."""
    config = tmp_path / "config.yaml"
    config.write_text(rest if rest.startswith("telegram") else HEAD + rest)
    with pytest.raises(SystemExit) as ended:
        run(config)
    said = capsys.readouterr()
    assert ended.value.code == 2, said
    assert "secret" not in said.err + said.out
    return said.err + said.out


@pytest.mark.parametrize(
    ("rest", "sentence"),
    [
        (
            HEAD.replace("f}\n", "f, datacenter: sandbox}\n", 1) + DATABASE,
            "telegram.datacenter: a sandbox is of one engine, and storage.database is shared; leave one of them out",
        ),
        (
            HEAD.replace("f}", "f, datacenter: sandbox}", 1).replace("a}]", "a}, {name: B, session: b}]")
            + "node: {workers: 3}\n",
            "telegram.datacenter: a sandbox is of one engine, and node.workers are several; leave one of them out",
        ),
        ("storage: {database: 'postgresql://u:secret@127.0.0.1:notaport/holdfast'}\n", "its host or port cannot be"),
        (DATABASE + "node: {lease: 1s}\n", "node.lease: must be from 3 s to 300 s"),
        (DATABASE + "node: {name: ''}\n", "node.name: must be 1 to 64 printable characters"),
        (DATABASE + "node: {accounts_at_most: 0}\n", "node.accounts_at_most: must be from 1 to"),
        (HEAD.replace("session: a}", "session: a, hosts: ''}") + DATABASE, "accounts[0].hosts: must be the tag"),
    ],
)
def test_what_nodes_cannot_do_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], rest: str, sentence: str
) -> None:
    """A config that would do less than it says ends the start in a sentence, before anything is made."""
    assert sentence in " ".join(refused(tmp_path, capsys, rest).split())
    assert not (tmp_path / "data").exists()
