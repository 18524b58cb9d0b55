"use strict";

// The machine as the data has it: configurations, the moves out of each, and shortest paths. Nothing is drawn here.
// A move is {form, decision, to}; its form is a number, or NEW_LIFE. A walk is a list of moves from the first one.

const NEW_LIFE = -1;

class Machine {
  constructor(data) {
    this.data = data;
    this.rules = new Map(data.rules.map((rule, number) => [rule.name, number]));
    this.forms = new Map(data.forms.map((form, number) => [form.key, number]));
    this.forms.set(data.newLife.key, NEW_LIFE);
    this.paths = new Map();
  }

  policy(number) { return this.data.policies[number]; }

  state(policy, at) { return this.data.states[this.policy(policy).configurations[at][0]]; }

  // The values of a configuration's fields, in the order of data.fields.
  values(policy, at) {
    return this.policy(policy).configurations[at].slice(1).map((text) => this.data.texts[text]);
  }

  // What the world can bring about: events of this visit and this link, in the order of the law.
  moves(policy, at) {
    const flat = this.policy(policy).moves[at], found = [];
    for (let place = 0; place < flat.length; place += 2) found.push(this.move(flat[place], flat[place + 1]));
    return found;
  }

  // Events of an earlier visit or link, each of which is dropped.
  late(policy, at) {
    const of = this.policy(policy);
    return of.late[of.lateOf[at]].map((move) => this.move(move, at));
  }

  move(number, to) {
    const [form, decision] = this.data.moves[number];
    return { form, decision, to };
  }

  // The begin of a new life, or null before the first has begun.
  newLife(policy, at) {
    const to = this.policy(policy).lives[at];
    return to < 0 ? null : { form: NEW_LIFE, decision: null, to };
  }

  all(policy, at) {
    const life = this.newLife(policy, at);
    return [...this.moves(policy, at), ...(life ? [life] : [])];
  }

  // The move that a form makes here, or undefined if the world cannot bring it about.
  find(policy, at, form) {
    const same = (move) => move.form === form;
    return this.all(policy, at).find(same) || this.late(policy, at).find(same);
  }

  rule(move) { return move.decision === null ? null : this.data.rules[this.data.decisions[move.decision][0]]; }

  // A shortest walk from a configuration to one that is wanted, or null if no walk leads there.
  shortest(policy, from, wanted) {
    const before = new Map([[from, null]]), queue = [from];
    for (let next = 0; next < queue.length; next++) {
      const at = queue[next];
      if (wanted(at)) {
        const walk = [];
        for (let step = before.get(at); step; step = before.get(step.from)) walk.unshift(step.move);
        return walk;
      }
      for (const move of this.all(policy, at)) {
        if (before.has(move.to)) continue;
        before.set(move.to, { from: at, move });
        queue.push(move.to);
      }
    }
    return null;
  }

  // A shortest walk whose last move is by a rule.
  shortestByRule(policy, from, rule) {
    const by = (move) => move.decision !== null && this.data.decisions[move.decision][0] === rule;
    const step = (at) => this.moves(policy, at).find(by) || this.late(policy, at).find(by);
    const last = { at: from };
    const walk = this.shortest(policy, from, (at) => { last.at = at; return step(at) !== undefined; });
    return walk && [...walk, step(last.at)];
  }

  // What a benign world does next, or null where it has come to rest.
  benign(policy, at) {
    const form = this.policy(policy).benign[at];
    return form < 0 ? null : this.find(policy, at, form);
  }
}
