/* Which list appears where: the placements of recsys.toml, as a form with a preview, and the way back. */

import { heard, say } from './language.js';
import { ask, make, tell, words } from './page.js';

const SETTLED = 250; // ms without a key pressed, after which the preview is asked for
const RULES = ['max_per_category', 'max_per_brand', 'diversity', 'freshness', 'bought_days', 'shown_limit'];
const NUMBERS = { k: [1, 200, 1], max_per_category: [0, 200, 1], max_per_brand: [0, 200, 1], diversity: [0, 1, 0.1], freshness: [0, 100, 0.1], bought_days: [0, 100000, 1], shown_limit: [0, 10000, 1] };
const LABELS = {
  name: say('Name, as pages send it'), kind: say('Kind of list'), fallback: say('Filled up by'), filter: say('Filter'), k: say('Items'), title: say('Heading'),
  max_per_category: say('Most of one category'), max_per_brand: say('Most of one brand'), diversity: say('Diversity, 0 to 1'), freshness: say('Boost of new items'),
  bought_days: say('Days without what was bought'), shown_limit: say('Most times shown without a click'), ranker: say('Order by the ranker'),
};
const NOTES = {
  fallback: say('Kinds, separated by commas, one after the other. Empty: nothing fills it up.'),
  filter: say('For example: price < 50 and "vegan" in tags'),
  name: say('Letters, digits, - and _.'),
};
const BLANK = { kind: 'personal', fallback: ['category', 'popular'], filter: '', k: 10, title: '', rules: {}, ranker: true };

/** Show the form in `main`, for the placement that is named; returns what ends it. */
export function placements(main, named) {
  const form = new Form(main);
  form.open(named).catch(tell);
  return () => form.leave();
}

class Form {
  constructor(main) {
    this.main = main;
    this.gone = false;
    this.turn = 0;
    this.undo = []; // what a name held before each change made here
  }

  leave() {
    this.gone = true;
    clearTimeout(this.timer);
  }

  async open(named) {
    const told = await ask('placements');
    if (this.gone) return;
    this.known = told.placements;
    this.kinds = told.kinds;
    const first = this.known.find(({ name }) => name === named) ?? this.known[0];
    this.main.replaceChildren(
      make('h1', { text: say('Placements') }),
      make('p', { class: 'lead', text: say('Which list appears where. What is saved here is written into recsys.toml, and counts within a second.') }),
      told.refused ? make('p', { class: 'notice', text: say`recsys.toml is refused as it is now: ${told.refused}` }) : '',
      make('div', { class: 'placing' }, this.names(), this.form(), this.aside()),
    );
    this.load(first?.name ?? '', first ?? BLANK);
  }

  names() {
    this.list = make('nav', { class: 'names', 'aria-label': say('Placements of recsys.toml') });
    this.listed();
    return this.list;
  }

  listed() {
    const inside = this.list.contains(document.activeElement); // who chose by keyboard stays there
    const button = (text, load, current) => make('button', { type: 'button', text, 'aria-current': current ? 'true' : null, onclick: load });
    this.list.replaceChildren(
      ...this.known.map((one) => button(one.name, () => this.load(one.name, one), one.name === this.name)),
      button(say('New placement'), () => this.load('', BLANK), this.name === ''),
    );
    if (inside) this.list.querySelector('[aria-current]')?.focus();
  }

  field(name, element) {
    element.id = `place-${name}`;
    element.name = name;
    const note = make('p', { class: 'small', id: `${element.id}-note`, text: NOTES[name] ?? '' });
    const wrong = make('p', { class: 'wrong', id: `${element.id}-wrong` });
    element.setAttribute('aria-describedby', `${note.id} ${wrong.id}`);
    return make('div', { class: 'field' }, make('label', { for: element.id, text: LABELS[name] }), element, note, wrong);
  }

  input(name) {
    const [min, max, step] = NUMBERS[name] ?? [];
    const number = min !== undefined;
    return this.field(name, make('input', { type: number ? 'number' : 'text', min, max, step: number ? step : null, autocomplete: 'off', spellcheck: 'false' }));
  }

  form() {
    const kinds = make('select', {}, this.kinds.map((kind) => make('option', { value: kind.name, text: `${kind.name}: ${heard(kind.help)}` })));
    const ranker = make('input', { type: 'checkbox', id: 'place-ranker', name: 'ranker' });
    this.removal = make('button', { type: 'button', text: say('Delete'), onclick: () => this.remove().catch(tell) });
    this.back = make('button', { type: 'button', text: say('Undo'), disabled: true, onclick: () => this.takeBack().catch(tell) });
    this.said = make('p', { class: 'counted', role: 'status' });
    this.element = make('form', { class: 'place', novalidate: true, 'aria-label': say('Placement'), oninput: () => this.soon(), onsubmit: (event) => {
      event.preventDefault();
      this.save().catch(tell);
    } },
    this.input('name'), this.field('kind', kinds), this.input('fallback'), this.input('title'), this.input('k'), this.input('filter'),
    make('details', {}, make('summary', { text: say('Rules of this list') }), RULES.map((name) => this.input(name)),
      make('label', { class: 'toggle', for: 'place-ranker' }, ranker, make('span', { text: LABELS.ranker }))),
    make('div', { class: 'buttons' }, make('button', { class: 'primary', text: say('Save') }), this.back, this.removal), this.said);
    return this.element;
  }

  aside() {
    const who = (id, label) => make('div', { class: 'field' }, make('label', { for: id, text: label }), make('input', { id, autocomplete: 'off', spellcheck: 'false', oninput: () => this.soon() }));
    this.shown = make('ol', { class: 'previewed' });
    this.heading = make('h2', { class: 'found', text: say('Preview') });
    this.note = make('p', { class: 'small', role: 'status' });
    return make('section', { class: 'tile', 'aria-label': say('Preview') }, this.heading, who('preview-item', say`The page’s ${words.product}: its id`), who('preview-user', say`The ${words.customer}’s id`), this.note, this.shown);
  }

  value(name) {
    return this.element.elements[name].value.trim();
  }

  load(name, values) {
    this.name = name;
    const set = (field, value) => { this.element.elements[field].value = value ?? ''; };
    set('name', name);
    for (const field of ['kind', 'filter', 'k', 'title']) set(field, values[field]);
    set('fallback', (values.fallback ?? []).join(', '));
    for (const rule of RULES) set(rule, values.rules?.[rule]);
    this.element.elements.ranker.checked = values.ranker ?? true;
    // What this form has no field for stays as it is.
    this.rest = { version: values.version || undefined, rail: values.rail > 1 ? values.rail : undefined };
    this.otherRules = Object.fromEntries(Object.entries(values.rules ?? {}).filter(([rule]) => !RULES.includes(rule)));
    this.removal.hidden = !name;
    this.said.textContent = '';
    this.listed();
    this.preview().catch(tell);
  }

  /** The keys of [placements.NAME], without those that say what holds anyway. */
  values() {
    const numeral = (text) => (text === '' || Number.isNaN(Number(text)) ? text : Number(text));
    const rules = { ...this.otherRules };
    for (const rule of RULES) if (this.value(rule) !== '') rules[rule] = numeral(this.value(rule));
    const found = { kind: this.value('kind'), fallback: this.value('fallback').split(',').map((one) => one.trim()).filter(Boolean), ...this.rest };
    if (this.value('filter')) found.filter = this.value('filter');
    if (this.value('title')) found.title = this.value('title');
    if (this.value('k') !== '') found.k = numeral(this.value('k'));
    if (Object.keys(rules).length) found.rules = rules;
    if (!this.element.elements.ranker.checked) found.ranker = false;
    return JSON.parse(JSON.stringify(found));
  }

  soon() {
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.preview().catch(tell), SETTLED);
  }

  async preview() {
    const turn = ++this.turn;
    const id = (name) => document.getElementById(name)?.value.trim() || undefined;
    const found = await ask('preview-placement', { body: { placement: this.values(), item_id: id('preview-item'), user_id: id('preview-user') } });
    if (this.gone || turn !== this.turn) return;
    tell(null);
    this.mark(found.wrong);
    if (found.wrong && found.wrong.field !== 'item_id') return; // what was last right stays in sight
    const needs = found.wrong ? `${found.wrong.message} ${found.wrong.hint}` : '';
    this.heading.textContent = found.title || say('Preview');
    this.note.textContent = needs || (found.items.length ? say`${found.items.length} items` : say('It shows no items here.'));
    this.shown.replaceChildren(...found.items.map((item) => make('li', {}, make('strong', { text: item.title || item.item_id }), make('small', { text: heard(item.reason || item.source) }))));
  }

  /** Say at its field what is wrong; nothing where all is well. */
  mark(wrong) {
    for (const element of this.element.elements) {
      const place = document.getElementById(`${element.id}-wrong`);
      if (!place) continue;
      const here = wrong && (element.name === wrong.field || (wrong.field === 'rules' && RULES.includes(element.name) && wrong.message.includes(element.name)));
      const text = here ? `${wrong.message} ${wrong.hint}` : '';
      if (place.textContent !== text) place.textContent = text;
      if (here) element.setAttribute('aria-invalid', 'true');
      else element.removeAttribute('aria-invalid');
    }
  }

  async save() {
    const name = this.value('name');
    if (!/^[\w-]{1,60}$/.test(name)) {
      this.mark({ field: 'name', message: say('A placement needs a name that pages can send.'), hint: say('Use letters, digits, - and _, 60 at most.') });
      this.element.elements.name.focus();
      return;
    }
    await this.write(name, this.values(), say('saved'));
  }

  async remove() {
    await this.write(this.name, null, say('deleted'));
  }

  async write(name, values, what, undoing = false) {
    let done;
    try {
      done = await ask(`placements/${encodeURIComponent(name)}`, values ? { method: 'PUT', body: values } : { method: 'DELETE' });
    } catch (error) {
      if (error.reply?.status !== 400) throw error;
      const said = (await error.reply.json()).error;
      const field = ['filter', 'fallback', 'kind', 'title', ...RULES, 'k'].find((one) => new RegExp(`\\b${one}\\b`).test(said.message)) ?? 'name';
      this.mark({ field, message: said.message, hint: said.hint });
      this.element.querySelector('[aria-invalid]')?.focus();
      return;
    }
    if (undoing) this.undo.pop();
    else this.undo.push([name, done.before]);
    this.back.disabled = !this.undo.length;
    this.known = this.known.filter((one) => one.name !== name);
    if (values) this.known = [...this.known, { ...BLANK, fallback: [], ...values, name }].sort((a, b) => a.name.localeCompare(b.name));
    this.load(values ? name : this.known[0]?.name ?? '', values ? this.known.find((one) => one.name === name) : this.known[0] ?? BLANK);
    this.said.textContent = say`${name} is ${what}.`;
  }

  async takeBack() {
    const [name, before] = this.undo.at(-1);
    this.back.disabled = true; // pressed twice, it would undo two changes
    try {
      await this.write(name, before, before ? say('as it was') : say('taken out again'), true);
    } finally {
      this.back.disabled = !this.undo.length; // what could not be undone may be tried again
    }
    if (this.back.disabled) this.element.elements.name.focus();
  }
}
