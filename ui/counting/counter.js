// The line below a prompt. Gradio runs this with `element`, `props`, `trigger` and `watch`.
// props.value = {count, dialect, dialect_help, notes: [{text, kind}], details: [{text, kind}], more}, drawn into parts that stay, so
// that nothing flickers; props.task, in one counter of each tab only, is the tab whose changes make it ask for a count.

const PAUSE = 250; // milliseconds without a change before anybody is asked
const [count, dialect, notes, more, details, spoken] = ["count", "dialect", "notes", "more", "details", "spoken"].map(
  (name) => element.querySelector(`.counter-${name}`),
);
let isOpen = false;

const say = (part, text) => { if (part.textContent !== text) part.textContent = text; };

function list(part, tag, entries) {
  const drawn = JSON.stringify(entries);
  if (part.dataset.drawn === drawn) return;
  part.dataset.drawn = drawn;
  part.replaceChildren(...entries.map(({ text, kind }) => {
    return Object.assign(document.createElement(tag), { textContent: text, className: kind });
  }));
}

function draw() {
  const value = props.value || {};
  say(count, value.count ?? "");
  say(dialect, value.dialect ?? "");
  dialect.hidden = !value.dialect;
  dialect.title = value.dialect_help ?? "";
  list(notes, "span", value.notes ?? []);
  notes.title = notes.textContent; // the line is one line: what does not fit is read here, or below
  list(details, "li", value.details ?? []);
  more.hidden = !value.details?.length;
  more.setAttribute("aria-label", value.more ?? "");
  more.setAttribute("aria-expanded", String(isOpen));
  details.hidden = more.hidden || !isOpen;
  // Not the number, which changes with every word: what is wrong, and the chunks once there are several.
  say(spoken, value.spoken ?? "");
}

more.addEventListener("click", () => { isOpen = !isOpen; draw(); });
watch("value", draw);
draw();

if (props.task) {
  let timer;
  const ask = (event) => {
    if (!element.isConnected) return document.removeEventListener("studio:changed", ask);
    if (event.detail && event.detail !== props.task) return; // without a name it is meant for every tab
    clearTimeout(timer);
    timer = setTimeout(() => trigger("count"), PAUSE);
  };
  document.addEventListener("studio:changed", ask);
  ask({ detail: props.task });
}
