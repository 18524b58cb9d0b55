"use strict";

// What is drawn, and what a click or a key does. Texts are put in as text, never as HTML.

(() => {
  const SHOWN_STEPS = 8; // of the path, unless a person asks for all
  const WRITE_AFTER = 200; // ms; browsers drop addresses that change too often
  const $ = (id) => document.getElementById(id);
  const machine = new Machine(JSON.parse($("data").textContent));
  const data = machine.data;
  let policy = 0, walk = [], wholePath = false, written = null, writing = 0;
  const seen = new Map(); // which decision of each property was shown last
  let counted = null; // the policy whose configurations and decisions are counted on the page

  const at = () => walk.length ? walk[walk.length - 1].to : 0;

  // --- small parts ---------------------------------------------------------------------------------------------------

  function make(tag, attributes = {}, ...children) {
    const element = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) {
      if (typeof value === "function") element.addEventListener(name, value);
      else if (value !== null) element.setAttribute(name, value);
    }
    element.append(...children.filter((child) => child !== null));
    return element;
  }

  // A text of the law, in which ``names`` stand between accents.
  function prose(text) {
    return text.split("``").map((part, number) => number % 2 ? make("code", {}, part) : part);
  }

  function badge(state) {
    const element = make("span", { class: "badge" }, state);
    element.style.backgroundColor = data.states.find((each) => each.name === state).fill;
    return element;
  }

  function say(message) { $("message").textContent = message; }

  function entry(name, ...content) { return [make("dt", {}, name), make("dd", {}, ...content)]; }

  function named(form) { return form === NEW_LIFE ? "a new life begins" : data.forms[form].event; }

  function words(form) { return form === NEW_LIFE ? "" : data.forms[form].words; }

  // --- one decision, told --------------------------------------------------------------------------------------------

  function changes(before, after) {
    const old = machine.values(policy, before), now = machine.values(policy, after);
    const changed = data.fields.map((field, place) => [field.name, old[place], now[place]])
      .filter(([, was, is]) => was !== is);
    return changed.length ? changed.map(([name, was, is]) => make("div", {}, `${name}: ${was} → ${is}`)) : ["nothing"];
  }

  function told(move, from) {
    if (move.form === NEW_LIFE) {
      return make("dl", { class: "told" }, ...entry("what", ...prose(data.newLife.doc)),
        ...entry("changes", ...changes(from, move.to)));
    }
    const [rule, asked, does, properties] = data.decisions[move.decision];
    const { name, why, note, quiet } = data.rules[rule];
    const guards = asked.map((number) => {
      const [guard, holds, saw] = data.answers[number];
      return make("div", { class: holds ? "holds" : "fails" }, make("b", {}, holds ? "yes " : "no "),
        make("code", {}, guard), ": ", ...prose(data.guards[guard]), saw ? ` (${saw})` : "");
    });
    if (!data.rules[rule].guard) guards.push(make("div", {}, "then this rule, which has no guard"));
    const effects = does.map((number) => {
      const [effect, values] = data.does[number];
      return make("div", {}, make("code", {}, effect), values ? ` (${values})` : "", ": ",
        ...prose(data.effects[effect]));
    });
    return make("dl", { class: "told" }, ...entry("event", ...prose(data.events[data.forms[move.form].event])),
      ...entry("rule", make("code", {}, name), quiet ? " (routine: the journal leaves it out)" : ""),
      ...entry("why", ...prose(why)), ...entry("guards", ...guards),
      ...(note ? entry("notes", ...prose(note)) : []),
      ...entry("effects", ...(effects.length ? effects : ["none"])),
      ...entry("changes", ...changes(from, move.to)),
      ...entry("checked", properties.map((number) => data.properties[number].name).join(", ") || "by no property"));
  }

  // --- going ---------------------------------------------------------------------------------------------------------

  function take(move) { go([...walk, move]); }

  function go(steps, message) {
    if (steps.length > MAX_STEPS) { say(`A path has at most ${MAX_STEPS} steps; go back, or begin anew.`); return; }
    walk = steps;
    const last = walk[walk.length - 1];
    say(message ?? (last ? `${named(last.form)}: now ${machine.state(policy, last.to).name}.` : ""));
    draw();
    clearTimeout(writing);
    writing = setTimeout(writeAddress, WRITE_AFTER);
  }

  function writeAddress() {
    clearTimeout(writing);
    written = writeLink(machine, policy, walk);
    if (location.hash !== written) location.hash = written;
  }

  function readAddress() {
    if (location.hash === written) return;
    clearTimeout(writing);
    const read = readLink(machine, location.hash);
    policy = read.policy;
    walk = read.walk;
    written = location.hash;
    say(read.message);
    draw();
  }

  function jump(find, what) {
    const here = document.querySelector("input[name=from]:checked").value === "here";
    const found = find(here ? at() : 0);
    if (found === null || found === undefined) say(`No path leads from here to ${what}.`);
    else go(here ? [...walk, ...found] : found, `A shortest path to ${what}: ${steps(found.length)}.`);
  }

  function toState(name) {
    jump((from) => machine.shortest(policy, from, (one) => machine.state(policy, one).name === name), name);
  }

  function toRule(name) {
    const rule = machine.rules.get(name);
    if (rule === undefined) say("There is no such rule; choose one from the list.");
    else jump((from) => machine.shortestByRule(policy, from, rule), name);
  }

  function toProperty(number, step) {
    const witnesses = machine.policy(policy).witnesses[number];
    const next = ((seen.get(number) ?? -step) + step + witnesses.length) % witnesses.length;
    seen.set(number, next);
    const [config, form] = witnesses[next];
    const what = `a decision that ${data.properties[number].name} is about (${next + 1} of ${witnesses.length})`;
    jump((from) => {
      const path = machine.shortest(policy, from, (one) => one === config);
      return path && [...path, machine.find(policy, config, form)];
    }, what);
  }

  function benign(untilRest) {
    const found = [...walk], before = found.length;
    for (let here = at(), left = 100; left > 0; left--) {
      const move = machine.benign(policy, here);
      if (move === null || move === undefined) break;
      found.push(move);
      here = move.to;
      if (!untilRest) break;
    }
    if (found.length === before) say("A benign world does nothing more here: the account is at rest.");
    else go(found);
  }

  // --- drawing -------------------------------------------------------------------------------------------------------

  function drawPicture() {
    const state = machine.state(policy, at()).name;
    const names = [machine.state(policy, 0).name, ...walk.map((move) => machine.state(policy, move.to).name)];
    // A rule may lead to its own state; only then is the arrow back to it taken.
    const taken = new Set(walk.map((move, place) => {
      const rule = machine.rule(move);
      return rule && rule.target ? `${names[place]} ${names[place + 1]}` : "";
    }));
    const open = new Set(machine.moves(policy, at()).filter((move) => machine.rule(move).target)
      .map((move) => `${state} ${machine.state(policy, move.to).name}`));
    for (const box of document.querySelectorAll("#picture .state")) {
      box.classList.toggle("current", box.dataset.state === state);
      box.classList.toggle("visited", names.includes(box.dataset.state));
    }
    for (const arrow of document.querySelectorAll("#picture .arrow")) {
      const pair = `${arrow.dataset.from} ${arrow.dataset.to}`;
      arrow.classList.toggle("taken", taken.has(pair));
      arrow.classList.toggle("open", open.has(pair));
    }
  }

  function drawHere() {
    const state = machine.state(policy, at());
    $("state").replaceChildren("Now in ", badge(state.name));
    $("state").dataset.state = state.name;
    $("state").dataset.configuration = at();
    $("meaning").replaceChildren(...prose(`${state.role}: ${state.meaning}`));
    $("schedule").textContent = machine.policy(policy).schedules[data.states.indexOf(state)].join("; ");
    const silent = [], values = machine.values(policy, at());
    const before = walk.length ? machine.values(policy, walk.length > 1 ? walk[walk.length - 2].to : 0) : values;
    const fields = data.fields.flatMap((field, place) => {
      const value = values[place], changed = before[place] !== value;
      const line = make("div", { class: changed ? "field changed" : "field", "data-field": field.name },
        make("dt", { title: field.of }, field.name),
        make("dd", {}, make("b", {}, value), changed ? ` (was ${before[place]})` : "", make("small", {}, ...prose(field.doc))));
      if (!data.nothing.includes(value) || changed) return [line];
      silent.push(line);
      return [];
    });
    $("fields").replaceChildren(...fields);
    $("silent").querySelector("summary").textContent = `${silent.length} fields that say nothing here`;
    $("silent").querySelector("dl").replaceChildren(...silent);
    const last = walk[walk.length - 1];
    $("last").replaceChildren(...(last ? [make("h2", {}, "How it got here"),
      make("p", {}, make("b", {}, named(last.form)), words(last.form) ? ` (${words(last.form)})` : ""),
      told(last, walk.length > 1 ? walk[walk.length - 2].to : 0)] : []));
  }

  function drawPath() {
    const crumb = (number) => {
      const state = machine.state(policy, number ? walk[number - 1].to : 0).name;
      const label = number ? `${named(walk[number - 1].form)} → ` : "";
      const current = number === walk.length ? "step" : null;
      return make("li", {}, make("button", { type: "button", "aria-current": current, "data-step": number,
        click: () => go(walk.slice(0, number)) }, label, badge(state)));
    };
    const hidden = wholePath ? 0 : Math.max(0, walk.length - SHOWN_STEPS);
    const numbers = Array.from({ length: walk.length + 1 }, (_, number) => number);
    const items = numbers.filter((number) => number === 0 || number > hidden).map(crumb);
    if (hidden) {
      items.splice(1, 0, make("li", {}, make("button", { type: "button",
        click: () => { wholePath = true; drawPath(); } }, `… ${steps(hidden)} …`)));
    }
    $("path").replaceChildren(...items);
    $("path").lastElementChild.scrollIntoView({ block: "nearest", inline: "end" });
  }

  function eventItem(move, benignForm) {
    const from = at(), rule = machine.rule(move), target = machine.state(policy, move.to).name;
    const does = rule ? data.decisions[move.decision][2].map((number) => data.does[number][0]) : [];
    const changed = rule ? rule.target !== null : target !== machine.state(policy, from).name;
    const key = move.form === NEW_LIFE ? data.newLife.key : data.forms[move.form].key;
    const details = make("details", { toggle: () => {
      if (details.open && details.childElementCount === 1) details.append(told(move, from));
    } }, make("summary", {}, rule ? make("code", {}, rule.name) : "no rule: the process was killed, or resumed",
      does.length ? ` does ${does.join(", ")}` : ""));
    return make("li", { "data-form": key, "data-rule": rule ? rule.name : "", "data-to": target },
      make("button", { type: "button", class: "take", click: () => { take(move); focusFirst(); } },
        make("b", {}, named(move.form)), words(move.form) ? ` (${words(move.form)})` : "",
        move.form === benignForm ? make("span", { class: "benign" }, " benign") : "", " ",
        changed ? make("span", { class: "leads" }, "→ ", badge(target)) : make("span", { class: "leads" }, "stays")),
      make("p", { class: "why" }, ...(rule ? prose(rule.why) : ["the stored snapshot goes on"])), details);
  }

  function drawEvents() {
    const wanted = $("search").value.trim().toLowerCase().split(/\s+/).filter(Boolean);
    const benignMove = machine.benign(policy, at()), benignForm = benignMove ? benignMove.form : null;
    const fits = (move) => {
      const rule = machine.rule(move), target = machine.state(policy, move.to).name;
      if ($("moving").checked && (rule ? rule.target === null : target === machine.state(policy, at()).name)) return false;
      const effects = rule ? data.decisions[move.decision][2].map((number) => data.does[number][0]).join(" ") : "";
      const text = `${named(move.form)} ${words(move.form)} ${target} ${rule ? `${rule.name} ${rule.why}` : ""} ${effects}`;
      return wanted.every((word) => text.toLowerCase().includes(word));
    };
    const all = machine.all(policy, at()), shown = all.filter(fits);
    $("events").replaceChildren(...shown.map((move) => eventItem(move, benignForm)));
    $("found").textContent = shown.length === all.length ? `${all.length} events` : `${shown.length} of ${all.length} events`;
    const late = machine.late(policy, at()).filter(fits);
    $("late").hidden = late.length === 0;
    $("late").querySelector("summary").textContent =
      `${late.length} events that come too late, of an earlier visit or link: each is dropped`;
    const list = $("late").querySelector("ol");
    const fill = () => { if ($("late").open) list.replaceChildren(...late.map((move) => eventItem(move, null))); };
    list.replaceChildren();
    $("late").ontoggle = fill;
    fill();
  }

  function drawJumps() {
    counted = policy;
    seen.clear();
    const of = machine.policy(policy);
    $("to-state").replaceChildren(...data.states.map((state) =>
      make("button", { type: "button", click: () => toState(state.name) }, badge(state.name))));
    $("properties").replaceChildren(...data.properties.map((property, number) => make("li", {},
      make("b", {}, property.name), ": ", ...prose(property.doc), make("br"),
      make("small", {}, `Holds of all decisions under this policy; it is about ${of.spoken[number]} of them. `),
      make("button", { type: "button", "data-property": property.name, click: () => toProperty(number, 1) },
        "Show one"), make("button", { type: "button", click: () => toProperty(number, -1) }, "the one before"))));
    $("size").textContent = `${of.configurations.length} configurations under this policy, ` +
      `${of.moves.reduce((sum, moves) => sum + moves.length / 2, 0)} moves between them.`;
  }

  function draw() {
    wholePath = false;
    $("policy").value = policy;
    if (counted !== policy) drawJumps(); // a link and the browser's way back change the policy, too
    $("back").disabled = $("anew").disabled = walk.length === 0;
    drawPicture();
    drawHere();
    drawPath();
    drawEvents();
  }

  // --- what a person does --------------------------------------------------------------------------------------------

  function buttons() { return [...document.querySelectorAll("#happens .take")].filter((each) => each.offsetParent); }

  function focusFirst() { buttons()[0]?.focus({ preventScroll: true }); }

  function focusNext(step) {
    const all = buttons(), now = all.indexOf(document.activeElement);
    if (all.length) all[now < 0 ? (step > 0 ? 0 : all.length - 1) : (now + step + all.length) % all.length].focus();
  }

  function copyFrom(field) {
    field.select();
    const done = navigator.clipboard ? navigator.clipboard.writeText(field.value) : Promise.reject();
    done.catch(() => document.execCommand("copy")).finally(() => say("Copied."));
  }

  function writeOut(text) {
    $("text").value = text;
    $("written").showModal();
    $("text").setSelectionRange(0, 0);
    $("text").scrollTop = 0;
  }

  const KEYS = {
    j: () => focusNext(1), k: () => focusNext(-1),
    u: () => go(walk.slice(0, -1)), h: () => go([]), b: () => benign(false), "/": () => $("search").focus(),
    "?": () => { $("help").open = !$("help").open; },
  };

  function onKey(event) {
    const typing = event.target.matches("input:not([type=checkbox], [type=radio]), select, textarea");
    if (event.target.id === "search" && event.key === "Escape") { event.target.value = ""; drawEvents(); focusFirst(); }
    if (typing || event.ctrlKey || event.metaKey || event.altKey || $("written").open) return;
    const box = event.target.closest("#picture .state");
    if (box && (event.key === "Enter" || event.key === " ")) { event.preventDefault(); toState(box.dataset.state); return; }
    if (event.target.matches(".take") && event.key.startsWith("Arrow")) { // elsewhere these scroll
      event.preventDefault();
      focusNext(event.key === "ArrowDown" || event.key === "ArrowRight" ? 1 : -1);
      return;
    }
    if (Object.hasOwn(KEYS, event.key)) { event.preventDefault(); KEYS[event.key](); }
  }

  $("policy").replaceChildren(...data.policies.map((each, number) =>
    make("option", { value: number }, each.name.replaceAll("_", " "))));
  $("policy").addEventListener("change", () => { policy = Number($("policy").value); go([]); });
  $("rules").replaceChildren(...data.rules.map((rule) => make("option", { value: rule.name })));
  $("about").replaceChildren(...prose(data.about));
  $("anew").addEventListener("click", () => go([]));
  $("back").addEventListener("click", () => go(walk.slice(0, -1)));
  $("benign").addEventListener("click", () => benign(false));
  $("rest").addEventListener("click", () => benign(true));
  $("search").addEventListener("input", drawEvents);
  $("moving").addEventListener("change", drawEvents);
  $("go-rule").addEventListener("click", () => toRule($("to-rule").value.trim()));
  $("to-rule").addEventListener("keydown", (event) => { if (event.key === "Enter") toRule(event.target.value.trim()); });
  $("as-mermaid").addEventListener("click", () => writeOut(asMermaid(machine, policy, walk)));
  $("as-python").addEventListener("click", () => writeOut(asPython(machine, policy, walk)));
  $("copy").addEventListener("click", () => { writeAddress(); writeOut(location.href); copyFrom($("text")); });
  $("copy-text").addEventListener("click", () => copyFrom($("text")));
  for (const box of document.querySelectorAll("#picture .state")) {
    box.addEventListener("click", () => toState(box.dataset.state));
  }
  document.addEventListener("keydown", onKey);
  window.addEventListener("hashchange", readAddress);
  readAddress();
  if (written === null) draw();
  document.documentElement.dataset.ready = "yes";
})();
