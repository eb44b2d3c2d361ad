// The choice of styles. Gradio runs this with `element`, `props`, `trigger` and `watch`.
// props.value = {names, before}: what is chosen, and the texts before the last "write into the box", for undo.
// props.note = a sentence about the chosen model, or ""; all else is `window.studio.styles` (table.js).

const OPEN = "studio.section-styles"; // remembered like the other sections, which Gradio folds
const part = (name) => element.querySelector(`.styles-${name}`);
const [fold, face, note, search] = ["fold", "face", "note", "search"].map(part);
const [groups, chips, chosen] = ["groups", "chips", "chosen"].map(part);
const [write, undo] = ["write", "undo"].map(part);
const { make, inLanguage } = window.studio;
// Searched for in American as in British letters, and by a word that no style has in its own.
const plain = (text) => text.toLowerCase().replaceAll("colour", "color").replaceAll("grey", "gray");
const MEANT = { anime: ["anime", "animation", "manga"] };
let table = { styles: [], groups: [], words: {}, most: 0 };
let words = {};
let byName = {};
let names = []; // as drawn
let group = "";

const titleOf = (entry) => inLanguage(entry.title);
const about = (style) => [
  style.adds && `${words.adds} ${style.adds}`,
  style.avoids && `${words.avoids} ${style.avoids}`,
].filter(Boolean).join("\n");

function makeDot(style) {
  const dot = make("i", { className: "style-dot" });
  dot.style.background = style?.colour ?? "transparent";
  return dot;
}

function choose(next) {
  names = next;
  props.value = { names, before: null };
  draw();
}

function drawChip(style) {
  const isOn = names.includes(style.name);
  const isFull = !isOn && names.length >= table.most;
  const chip = make("button", { type: "button", className: "style-chip", disabled: isFull }, makeDot(style), titleOf(style));
  chip.dataset.name = style.name;
  chip.title = isFull ? words.most : about(style);
  chip.setAttribute("aria-pressed", String(isOn));
  chip.addEventListener("click", () => choose(isOn ? names.filter((name) => name !== style.name) : [...names, style.name]));
  return chip;
}

function found() {
  const typed = plain(search.value.trim());
  if (!typed) return table.styles.filter((style) => style.group === group);
  const texts = (style) => plain([style.name, ...Object.values(style.title), style.adds].join("\n"));
  return table.styles.filter((style) => (MEANT[typed] ?? [typed]).some((word) => texts(style).includes(word)));
}

function drawList() {
  const focused = document.activeElement?.closest?.(".style-chip")?.dataset.name;
  groups.replaceChildren(...table.groups.map((one) => {
    const isOn = one.name === group && !search.value.trim();
    const button = make("button", { type: "button", className: "style-group", textContent: titleOf(one) });
    button.setAttribute("aria-pressed", String(isOn));
    button.addEventListener("click", () => { group = one.name; search.value = ""; drawList(); });
    return button;
  }));
  const drawn = found().map(drawChip);
  chips.replaceChildren(...(drawn.length ? drawn : [make("p", { className: "hint", textContent: words.nothing })]));
  if (focused) [...chips.children].find((chip) => chip.dataset.name === focused)?.focus();
}

function drawChosen() {
  face.replaceChildren(...names.map((name) => {
    return make("span", {}, makeDot(byName[name]), byName[name] ? titleOf(byName[name]) : name);
  }));
  chosen.replaceChildren(...names.map((name) => {
    const style = byName[name];
    const title = style ? titleOf(style) : name;
    const remove = make("button", { type: "button", className: "style-remove", textContent: "×", title: words.remove });
    remove.setAttribute("aria-label", `${words.remove}: ${title}`);
    remove.addEventListener("click", () => choose(names.filter((other) => other !== name)));
    const text = make("span", { className: "style-about", textContent: style ? about(style) : words.unknown });
    return make("li", {}, makeDot(style), make("b", { textContent: title }), remove, text);
  }));
  write.hidden = names.length === 0;
  undo.hidden = !props.value?.before;
}

function draw() {
  note.textContent = props.note ?? "";
  note.hidden = !props.note;
  names = (props.value?.names ?? []).filter((name) => typeof name === "string");
  drawList();
  drawChosen();
}

function begin() {
  table = window.studio.styles;
  words = inLanguage(table.words);
  byName = Object.fromEntries(table.styles.map((style) => [style.name, style]));
  group = table.groups[0]?.name;
  part("title").textContent = words.title;
  search.placeholder = words.search;
  search.setAttribute("aria-label", words.search);
  groups.setAttribute("aria-label", words.groups);
  chips.setAttribute("aria-label", words.title);
  write.textContent = words.write;
  undo.textContent = words.undo;
  draw();
}

search.addEventListener("input", drawList);
search.addEventListener("keydown", (event) => {
  if (event.key === "Escape") event.stopPropagation(); // it empties the box and ends no run
});
write.addEventListener("click", () => trigger("write"));
undo.addEventListener("click", () => trigger("undo"));
// Who goes on writing keeps what was written: undo would take it away.
element.closest(".controls")?.addEventListener("input", (event) => {
  if (!event.isTrusted || event.target.tagName !== "TEXTAREA" || !props.value?.before) return;
  props.value = { names, before: null };
  drawChosen();
});
try { fold.open = localStorage.getItem(OPEN) === "open"; } catch { /* private mode: folded */ }
fold.addEventListener("toggle", () => {
  try { localStorage.setItem(OPEN, fold.open ? "open" : "closed"); } catch { /* private mode: forgotten */ }
});
watch(["value", "note"], () => { if (table.most) draw(); });
if (window.studio.styles) begin();
else document.addEventListener("studio:styles", begin, { once: true });
