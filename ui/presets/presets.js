// The presets of a tab. Gradio runs this with `element`, `props` and `watch`.
// props.task; props.own = [{name, title}], the studio's; props.words; props.limits = {presets, name, file};
// props.file = {the key of a file of presets: its version}. The visitor's own are in `window.studio.presets`.

const list = element.querySelector(".preset-list");
const { presets, ask, fill, tell, make } = window.studio;
const WITH_TEXTS = "studio.presets.with_texts";

const phrase = (text, values) => text.replace(/\{(\w+)\}/g, (_, name) => values[name]);
const button = (className, textContent, onclick, label = "") => {
  const made = make("button", { type: "button", className, textContent, onclick });
  if (label) {
    made.title = label;
    made.setAttribute("aria-label", label);
  }
  return made;
};

// The list, which another page may change at any time: each change is made, and taken back, in the list as it is then.

const isNamed = (name) => (preset) => preset.name.toLowerCase() === name.toLowerCase();
const isSame = (one) => (other) => JSON.stringify(other) === JSON.stringify(one);
const without = (all, gone) => all.filter((preset) => !gone.some((one) => isSame(one)(preset)));
const swap = (all, old, preset) => all.map((other) => (isSame(old)(other) ? preset : other));
// The name, or one like it that nobody in the list has.
function freeName(all, name) {
  let free = name;
  for (let number = 2; all.some(isNamed(free)); number += 1) {
    const mark = ` (${number})`;
    free = name.slice(0, props.limits.name - mark.length) + mark;
  }
  return free;
}
function change(edit, back, sentence, lines = []) {
  const isKept = presets.replace(edit(presets.list()));
  if (isKept) tell(sentence, { lines, undo: () => presets.replace(back(presets.list())) });
  return isKept;
}

async function save(name) {
  const { words, limits, task } = props;
  if (!name) return;
  const isFull = presets.list().filter((preset) => !isNamed(name)(preset)).length >= limits.presets;
  if (isFull) {
    tell(phrase(words.full, { count: limits.presets }), { isWrong: true });
    return;
  }
  const { preset } = await ask(task, { do: "save", name, with_texts: keepsTexts() });
  if (!preset) return;
  const old = presets.list().find(isNamed(name));
  const isKept = old
    ? change((all) => swap(all, old, preset), (all) => swap(all, preset, old), phrase(words.replaced, { name }))
    : change((all) => [...all, preset], (all) => without(all, [preset]), phrase(words.saved, { name }));
  if (isKept && field.value.trim() === name) field.value = "";
}

function remove(preset) {
  const { words } = props;
  const place = presets.list().findIndex(isSame(preset));
  const back = (all) => [...all.slice(0, place), { ...preset, name: freeName(all, preset.name) }, ...all.slice(place)];
  change((all) => without(all, [preset]), back, phrase(words.removed, preset));
}

function give(preset, name) {
  const { words } = props;
  const all = presets.list();
  if (!name || name === preset.name || !all.some(isSame(preset))) return;
  if (all.some((other) => !isSame(preset)(other) && isNamed(name)(other))) {
    tell(phrase(words.taken, { name }), { isWrong: true });
    return;
  }
  const renamed = { ...preset, name };
  const back = (now) => swap(now, renamed, { ...preset, name: freeName(without(now, [renamed]), preset.name) });
  change((now) => swap(now, preset, renamed), back, phrase(words.renamed, { name }));
}

let isRenaming = false; // what happens to the list meanwhile is drawn afterwards
function rename(preset, row) {
  const { words, limits } = props;
  const box = make("input", { type: "text", value: preset.name, maxLength: limits.name });
  box.setAttribute("aria-label", words.name);
  const end = (isWanted, isByKey) => {
    if (!isRenaming) return;
    isRenaming = false;
    const name = box.value.trim();
    if (isWanted) give(preset, name);
    drawKept();
    const isGiven = isWanted && presets.list().some(isSame({ ...preset, name }));
    if (isByKey) focusOn(isGiven ? name : preset.name, ".preset-rename");
  };
  box.addEventListener("keydown", (event) => {
    if (event.isComposing) return;
    if (event.key === "Enter" && !event.ctrlKey && !event.metaKey) {
      event.preventDefault(); // else it would press what the keyboard goes to
      end(true, true);
    }
    if (event.key === "Escape") {
      event.stopPropagation(); // it ends the renaming, not a run
      end(false, true);
    }
  });
  box.addEventListener("blur", () => end(box.isConnected, false));
  isRenaming = true;
  row.replaceChildren(box);
  box.focus();
  box.select();
}

function download(chosen, name) {
  const text = JSON.stringify({ ...props.file, presets: chosen }, null, 2);
  const link = make("a", { href: URL.createObjectURL(new Blob([text], { type: "application/json" })), download: `${name}.json` });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10000);
}

async function bring(file) {
  const { words, limits, task } = props;
  if (file.size > limits.file) {
    tell(words.too_large, { isWrong: true });
    return;
  }
  const { presets: brought, lines } = await ask(task, { do: "import", text: await file.text() });
  if (!brought) return;
  const before = presets.list();
  const added = [];
  let already = 0;
  for (const preset of brought) {
    if (before.some(isSame(preset))) {
      already += 1;
      continue;
    }
    if (before.length + added.length >= limits.presets) {
      lines.push(phrase(words.full, { count: limits.presets }));
      break;
    }
    added.push({ ...preset, name: freeName([...before, ...added], preset.name) });
  }
  const sentences = [];
  if (added.length || !already) sentences.push(phrase(words.imported, { count: added.length }));
  if (already) sentences.push(phrase(words.already, { count: already }));
  if (!added.length) tell(sentences.join(" "), { lines });
  else change((all) => [...all, ...added], (all) => without(all, added), sentences.join(" "), lines);
}

function keepsTexts() {
  try { return localStorage.getItem(WITH_TEXTS) !== "no"; } catch { return true; }
}

// What is drawn: the visitor's rows anew at each change of the list, all else only with other words.

const chips = make("div", { className: "preset-chips" });
const kept = make("div", { className: "preset-kept" });
const field = make("input", { type: "text", className: "preset-name" });
const exportAll = button("preset-button", "", () => download(presets.list(), "presets"));

function drawRow(preset) {
  const { words, task } = props;
  const { name } = preset;
  const row = make("div", { className: "preset-row" });
  row.dataset.name = name;
  row.append(
    button("preset-apply", name, () => fill(task, { do: "apply", preset })),
    button("preset-sign preset-rename", "✎", () => rename(preset, row), `${words.rename}: ${name}`),
    button("preset-sign preset-export", "⤓", () => download([preset], name), `${words.export}: ${name}`),
    button("preset-sign preset-remove", "×", () => remove(preset), `${words.remove}: ${name}`),
  );
  return row;
}

function drawKept() {
  if (isRenaming) return;
  const { words, task } = props;
  const focused = kept.querySelector("button:focus");
  const name = focused?.closest(".preset-row").dataset.name;
  const sign = [...(focused?.classList ?? [])].at(-1);
  const place = rows().findIndex((row) => row.dataset.name === name);
  const all = presets.list();
  const here = all.filter((preset) => preset.tasks.includes(task));
  const elsewhere = all.filter((preset) => !preset.tasks.includes(task));
  const parts = [];
  if (here.length) parts.push(make("p", { className: "preset-heading", textContent: words.yours }), ...here.map(drawRow));
  if (elsewhere.length) parts.push(make("p", { className: "preset-heading", textContent: words.others }), ...elsewhere.map(drawRow));
  kept.replaceChildren(...parts);
  exportAll.disabled = all.length === 0;
  if (focused && !focusOn(name, `.${sign}`)) focusOn(rows()[Math.min(place, rows().length - 1)]?.dataset.name, ".preset-apply");
}

const rows = () => [...kept.querySelectorAll(".preset-row")];
// The keyboard stays where it was: on the same sign of the row, or where there is no row left, on the name for a new one.
function focusOn(name, selector) {
  const row = rows().find((one) => one.dataset.name === name);
  if (!row && rows().length && name !== undefined) return false;
  (row?.querySelector(selector) ?? field).focus();
  return true;
}

function drawSaving() {
  const { words, limits } = props;
  Object.assign(field, { placeholder: words.name, maxLength: limits.name });
  field.setAttribute("aria-label", words.name);
  const box = make("input", { type: "checkbox", checked: keepsTexts() });
  box.addEventListener("change", () => {
    try { localStorage.setItem(WITH_TEXTS, box.checked ? "yes" : "no"); } catch { /* private mode: forgotten */ }
  });
  return [
    make("div", { className: "preset-saving" }, field, button("preset-button", words.save, () => save(field.value.trim()))),
    make("label", { className: "preset-texts" }, box, make("span", { textContent: words.with_texts })),
  ];
}

function drawFoot() {
  const { words, task } = props;
  const file = make("input", { type: "file", accept: ".json,application/json", hidden: true, className: "preset-file" });
  file.addEventListener("change", () => {
    if (file.files[0]) bring(file.files[0]);
    file.value = "";
  });
  exportAll.textContent = words.export_all;
  return make("div", { className: "preset-foot" },
    button("preset-button preset-begin", words.begin_again, () => fill(task, { do: "begin_again" })),
    button("preset-button preset-link", words.link, () => ask(task, { do: "link" })),
    button("preset-button preset-import", words.import, () => file.click()), exportAll, file);
}

function draw() {
  const { own, task } = props;
  chips.replaceChildren(...own.map(({ name, title }) => {
    const chip = button("preset-chip", title, () => fill(task, { do: "apply_own", name }));
    chip.dataset.name = name;
    return chip;
  }));
  list.replaceChildren(chips, kept, ...drawSaving(), drawFoot());
  drawKept();
}

field.addEventListener("keydown", (event) => {
  if (event.key === "Enter" && !event.isComposing && !event.ctrlKey && !event.metaKey) save(field.value.trim());
});
watch(["own", "words"], draw);
presets.follow(element, drawKept);
draw();
