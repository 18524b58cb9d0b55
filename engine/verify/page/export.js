"use strict";

// A walk as text for other programs: a mermaid sequence diagram, and a test in Python.

function asMermaid(machine, policy, walk) {
  const plain = (text) => text.replaceAll(";", ",").replaceAll(":", " –").replaceAll("#", "");
  const lines = ["sequenceDiagram", "    participant W as world", "    participant M as machine",
    "    participant R as runner", `    Note over M: ${machine.state(policy, 0).name}`];
  for (const move of walk) {
    const target = machine.state(policy, move.to).name;
    if (move.form === NEW_LIFE) {
      lines.push("    Note over W,R: a new life begins", `    Note over M: ${target}`);
      continue;
    }
    const form = machine.data.forms[move.form], rule = machine.rule(move);
    const effects = machine.data.decisions[move.decision][2].map((number) => machine.data.does[number][0]);
    lines.push(`    W->>M: ${plain(form.event + (form.words ? ` (${form.words})` : ""))}`);
    if (effects.length) lines.push(`    M->>R: ${effects.join(", ")}`);
    lines.push(`    Note over M: ${plain(`${target}<br/>${rule.why}`)}`);
  }
  return lines.join("\n") + "\n";
}

function asPython(machine, policy, walk) {
  const events = [...new Set(walk.filter((move) => move.form !== NEW_LIFE)
    .map((move) => machine.data.forms[move.form].event))].sort();
  const seconds = (number) => `${number < 0 ? "-" : "+"}= ${Math.abs(number)}`;
  const lines = ['"""A walk through the machine, as the page of ``verify --html`` shows it."""', "",
    "from random import Random", "", "from engine.verify import POLICIES", "from states import begin, step",
    ...(events.length ? [`from states.events import ${events.join(", ")}`] : []), "", "",
    "def test_walk() -> None:", '    """Each step is decided as the page shows it."""',
    `    policy, rng, now = POLICIES[${policy}], Random(0), 1_000_000.0`, "    at = begin(None, now=now)"];
  for (const move of walk) {
    if (move.form === NEW_LIFE) {
      lines.push("", "    at = begin(at, now=now)");
      continue;
    }
    const form = machine.data.forms[move.form], target = machine.state(policy, move.to).name;
    const effects = machine.data.decisions[move.decision][2].map((number) => `"${machine.data.does[number][0]}"`);
    lines.push("");
    if (form.shift) lines.push(`    now ${seconds(form.shift)}`);
    lines.push(`    made = step(at, ${form.call}, now=now, rng=rng, policy=policy)`,
      `    assert made.record.rule == "${machine.rule(move).name}"`,
      `    assert made.record.effects == (${effects.join(", ")}${effects.length === 1 ? "," : ""})`,
      `    assert made.snapshot.state == "${target}"`, "    at = made.snapshot");
  }
  return lines.join("\n") + "\n";
}
