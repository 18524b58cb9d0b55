"use strict";

// Keeps a page up to date: counts seconds, takes in what its stream tells, filters, explains in place, and acts.
// Without it, the page is what it was when it was fetched, and its links and forms work.

(() => {
  const $ = (id) => document.getElementById(id);
  let ahead = Number(document.body.dataset.now || 0) - Date.now() / 1000; // the engine's clock, not the visitor's
  const clock = () => Date.now() / 1000 + ahead;

  // --- seconds that pass --------------------------------------------------------------------------------------------

  // As engine/console/format.py writes them.
  function lasted(seconds) {
    const whole = Math.max(0, Math.round(seconds));
    if (whole < 60) return `${whole} s`;
    if (whole < 3600) return whole % 60 ? `${Math.floor(whole / 60)} min ${whole % 60} s` : `${whole / 60} min`;
    const minutes = Math.floor(whole / 60), hours = Math.floor(minutes / 60), rest = minutes % 60;
    if (hours < 48) return rest ? `${hours} h ${rest} min` : `${hours} h`;
    const days = Math.floor(hours / 24);
    return hours % 24 ? `${days} days ${hours % 24} h` : `${days} days`;
  }

  function write(element, text) {
    if (element.textContent !== text) element.textContent = text;
  }

  function tick(root) {
    const now = clock();
    for (const each of root.querySelectorAll("time[data-from]")) write(each, lasted(now - Number(each.dataset.from)));
    for (const each of root.querySelectorAll("time[data-until]")) {
      const left = Number(each.dataset.until) - now;
      write(each, left >= 0.5 ? `in ${lasted(left)}` : "now");
    }
    if (linked.live === "lost") write($("link-word"), `${linked.why} for ${lasted(now - linked.at)}`);
  }

  // --- what is said to people ---------------------------------------------------------------------------------------

  let saying = 0;
  function say(text, seconds = 8) {
    $("live").textContent = text;
    clearTimeout(saying);
    if (seconds) saying = setTimeout(() => { $("live").textContent = ""; }, seconds * 1000);
  }

  const linked = { live: "", why: "", at: clock(), stream: null };
  const LOST = "The connection to the engine is lost; what is shown is no longer up to date";
  const REFUSED = {
    200: ["not up to date", "So many pages are open that this one is not kept up to date; close some of them"],
    401: ["no access", "Your access has ended, and what is shown is no longer up to date; open the link with the token again, which 'web link' prints"],
    404: ["not up to date", "This account is there no more"],
  };
  function showLink(kind, why = "", words = "") {
    const link = $("link");
    if (!link) return;
    link.className = `link ${kind}`;
    if (kind === "live" && linked.live === "lost") say("Connected again; the page is up to date");
    if (kind === "lost" && linked.why !== why && (linked.live || words !== LOST)) say(words, 0);
    linked.live = kind;
    linked.why = why;
    if (kind === "live") write($("link-word"), "live");
    else tick(link);
  }

  // Says why a stream was refused, which its own answer cannot: a HEAD takes no place, so that 200 means there is none.
  async function refused(address) {
    try {
      const answer = await fetch(address, { method: "HEAD" });
      if (linked.stream === null && REFUSED[answer.status]) showLink("lost", ...REFUSED[answer.status]);
    } catch { /* there is no connection, as was said */ }
  }

  // --- the stream ---------------------------------------------------------------------------------------------------

  function parsed(html) {
    const template = document.createElement("template");
    template.innerHTML = html;
    return template.content.firstElementChild;
  }

  // Where the focus is, as a place that a new element has as well.
  function focused(element) {
    const active = document.activeElement;
    if (!active || !element.contains(active)) return null;
    const tags = [...element.querySelectorAll("a, button, summary, input")];
    return tags.indexOf(active);
  }

  function replace(id, html) {
    const fresh = parsed(html), old = $(id);
    if (!fresh || fresh.id !== id) return;
    if (old && (old.contains(document.querySelector("details[open]")) || chosenWithin(old))) {
      waiting.set(id, html); // somebody reads or marks it: not under their eyes
      return;
    }
    tick(fresh);
    if (!old) { newcomers.set(id, fresh); return; }
    const place = focused(old);
    const moved = old.dataset.state !== undefined && old.dataset.state !== fresh.dataset.state;
    old.replaceWith(fresh);
    if (moved) fresh.classList.add("fresh");
    if (fresh.dataset.visit !== undefined && old.dataset.visit !== fresh.dataset.visit) refetchSoon();
    if (place !== null && place >= 0) {
      const now = fresh.querySelectorAll("a, button, summary, input");
      if (now.length) now[Math.min(place, now.length - 1)].focus({ preventScroll: true });
    }
  }

  // What the stream does not tell of an account, its journal and its machine, is fetched after a change of its state.
  let refetching = 0;
  function refetchSoon() {
    if (refetching || !document.querySelector("[data-refetch]")) return;
    refetching = setTimeout(async () => {
      try {
        const answer = await fetch(location.pathname + location.search);
        const page = new DOMParser().parseFromString(await answer.text(), "text/html");
        for (const each of document.querySelectorAll("[data-refetch]")) {
          const found = page.getElementById(each.id);
          if (found) replace(each.id, found.outerHTML);
        }
      } catch { /* the stream says that there is no connection */ }
      refetching = 0;
    }, 1500);
  }

  function chosenWithin(element) {
    const selection = getSelection();
    return selection && !selection.isCollapsed && element.contains(selection.anchorNode);
  }

  const waiting = new Map(), newcomers = new Map();
  function catchUp() {
    for (const [id, html] of [...waiting]) { waiting.delete(id); replace(id, html); }
  }

  function order(ids) {
    const list = $("order");
    if (!list) return;
    const active = document.activeElement;
    let before = list.firstElementChild;
    for (const id of ids) {
      const row = newcomers.get(id) || $(id);
      if (!row) continue;
      newcomers.delete(id);
      if (row === before) { before = before.nextElementSibling; continue; }
      list.insertBefore(row, before);
    }
    newcomers.clear();
    if (active && active !== document.activeElement && list.contains(active)) active.focus({ preventScroll: true });
  }

  function listen() {
    const address = document.body.dataset.stream;
    if (!address || !window.EventSource || linked.stream) return;
    const stream = linked.stream = new EventSource(address);
    const on = (name, then) => stream.addEventListener(name, (event) => then(JSON.parse(event.data)));
    on("fragment", ({ id, html }) => { waiting.delete(id); replace(id, html); });
    on("remove", ({ ids }) => ids.forEach((id) => { waiting.delete(id); if ($(id)) $(id).remove(); }));
    on("order", ({ ids }) => order(ids));
    on("reload", () => { // not again and again, whatever the engine says
      if (Date.now() - Number(sessionStorage.getItem("reloaded") || 0) < 20000) return;
      sessionStorage.setItem("reloaded", Date.now());
      location.reload();
    });
    on("seen", ({ at }) => {
      linked.at = document.body.dataset.at = at;
      if (Math.abs(at - clock()) > 5) ahead = at - Date.now() / 1000; // one of the clocks was set
      showLink("live");
      catchUp();
      filter();
      tell();
    });
    stream.onerror = () => {
      if (stream.readyState !== EventSource.CLOSED) showLink("lost", "no connection", LOST);
      else { // refused: too many pages, or no access any more
        if (linked.live !== "lost") showLink("lost", "no connection", LOST);
        linked.stream = null;
        refused(address);
        setTimeout(listen, 15000);
      }
    };
  }

  function hush() {
    if (linked.stream) linked.stream.close();
    linked.stream = null;
  }

  // Says how many accounts need a person or are in trouble, when that changes.
  let counted = null;
  function tell() {
    const tile = document.querySelector("#summary .s-needs b"), now = tile ? tile.textContent : "0";
    if (!$("summary")) return;
    if (counted !== null && counted !== now) {
      say(now === "0" ? "No account needs you any more" : now === "1" ? "1 account needs you" : `${now} accounts need you`);
    }
    counted = now;
  }

  // --- the filter ---------------------------------------------------------------------------------------------------

  const form = document.querySelector("form.filter[data-all]");
  function filter() {
    if (!form || form.dataset.all !== "yes") return;
    const text = form.elements.q.value.trim().toLowerCase(), state = form.elements.state.value;
    let shown = 0, all = 0;
    for (const row of $("order").children) {
      const is = row.dataset.state;
      const fits = row.dataset.name.includes(text) && (!state || is === state
        || (state === "needs" && row.dataset.needs !== undefined)
        || (state === "troubled" && is !== "healthy" && is !== "paused"));
      row.hidden = !fits;
      all += 1;
      shown += fits;
    }
    $("nothing").hidden = shown > 0;
    write($("matching"), shown === all ? `${all}` : `${shown} of ${all}`);
  }
  if (form) {
    form.addEventListener("input", filter);
    form.elements.sort.addEventListener("change", () => form.requestSubmit());
    document.addEventListener("keydown", (event) => {
      const typing = event.target.matches("input, select, textarea");
      if (event.key === "/" && !typing && !event.ctrlKey && !event.metaKey && !event.altKey) {
        event.preventDefault();
        form.elements.q.focus();
      }
      if (event.key === "Escape" && event.target === form.elements.q && form.dataset.all === "yes") {
        form.elements.q.value = "";
        filter();
      }
    });
  }

  // --- explanations -------------------------------------------------------------------------------------------------

  document.addEventListener("toggle", async (event) => {
    const details = event.target;
    if (!(details instanceof HTMLDetailsElement)) return;
    if (!details.open) { catchUp(); return; }
    const wanted = details.querySelector(".explain");
    if (!details.dataset.explain || !wanted) return;
    try {
      const answer = await fetch(details.dataset.explain);
      const page = new DOMParser().parseFromString(await answer.text(), "text/html");
      const found = page.getElementById("explained");
      if (!found) throw new Error("no explanation");
      found.removeAttribute("id");
      wanted.replaceWith(document.importNode(found, true));
    } catch {
      say("The explanation cannot be fetched now; try its link");
    }
  }, true);

  // --- actions ------------------------------------------------------------------------------------------------------

  document.addEventListener("submit", async (event) => {
    const act = event.target;
    if (!act.matches("form.act")) return;
    event.preventDefault();
    const button = act.querySelector("button");
    button.disabled = true;
    try {
      const answer = await fetch(act.action, {
        method: "POST", body: new URLSearchParams(new FormData(act)), headers: { accept: "application/json" },
      });
      const { said } = await answer.json();
      say(said, 12);
    } catch {
      say("The engine did not answer; whether it was done is not known", 12);
    }
    button.disabled = false;
    button.focus({ preventScroll: true });
  });

  // --- begin --------------------------------------------------------------------------------------------------------

  setInterval(() => tick(document), 1000);
  document.addEventListener("visibilitychange", () => document.hidden ? hush() : listen());
  window.addEventListener("pagehide", hush);
  window.addEventListener("pageshow", () => { if (!document.hidden) listen(); });
  document.addEventListener("selectionchange", () => { if (waiting.size && getSelection().isCollapsed) catchUp(); });
  tick(document);
  filter();
  tell();
  if (!document.hidden) listen();
  document.documentElement.dataset.ready = "yes";
})();
