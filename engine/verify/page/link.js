"use strict";

// A walk as the part of an address behind #: the rules' fingerprint, the policy, and the events by their names.
// What is read is not trusted: whoever sent the link may have written anything into it.

const MAX_STEPS = 2000;
const MAX_LINK = 200000; // characters

function writeLink(machine, policy, walk) {
  const keys = walk.map((move) => move.form === NEW_LIFE ? machine.data.newLife.key : machine.data.forms[move.form].key);
  return "#" + [machine.data.law, machine.policy(policy).name, ...keys].map(encodeURIComponent).join("/");
}

// Return {policy, walk, message}; the message is one sentence, or empty.
function readLink(machine, hash) {
  const anew = (message) => ({ policy: 0, walk: [], message });
  if (hash.length <= 1) return anew("");
  if (hash.length > MAX_LINK) return anew("The link is longer than a path can be, so the walk begins anew.");
  let parts;
  try {
    parts = hash.slice(1).split("/").map(decodeURIComponent);
  } catch {
    return anew("The link cannot be read, so the walk begins anew.");
  }
  const [law, name, ...keys] = parts;
  const policy = machine.data.policies.findIndex((each) => each.name === name);
  if (policy < 0) return anew("The link names no path of this page, so the walk begins anew.");
  if (keys.length > MAX_STEPS) return anew(`The link has more than ${MAX_STEPS} steps, so the walk begins anew.`);
  const walk = [];
  let at = 0;
  for (const key of keys) {
    const form = machine.forms.get(key);
    const move = form === undefined ? undefined : machine.find(policy, at, form);
    if (move === undefined) {
      const what = key.length > 60 ? key.slice(0, 60) + "…" : key;
      return { policy, walk, message: `The link is followed for ${steps(walk.length)}: then “${what}” cannot happen.` };
    }
    walk.push(move);
    at = move.to;
  }
  const other = law === machine.data.law ? "" : "The link was made from other rules; its path is followed by these.";
  return { policy, walk, message: other };
}

function steps(number) { return number === 1 ? "1 step" : `${number} steps`; }
