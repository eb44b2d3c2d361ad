// Rows of LoRAs. Gradio runs this with `element`, `props`, `trigger` and `watch`.
// props.value = {rows: [{name, weight}], turned: [names]}: what is used, and what was just removed or chosen.
// props.choices = [{name, title, shown}], shown in the list; props.words = {choose, weight, remove, none, unknown}, props.most = number of rows.

const [LOWEST, HIGHEST, STEP] = [-2, 2, 0.05]; // the box beside the slider takes the engine's whole range
const [LEAST, MOST] = [-4, 4];
const list = element.querySelector(".lora-rows");
const id = `loras-${Math.random().toString(36).slice(2)}`;
let rows = []; // as drawn: [{name, weight}], the last without a name while there is room

const titleOf = (name) => props.choices.find((choice) => choice.name === name)?.title ?? name;
const nameOf = (title) => {
  const typed = title.trim().toLowerCase();
  const found = props.choices.find((choice) => Object.values(choice).some((own) => own.toLowerCase() === typed));
  return found?.name ?? "";
};

function publish(...turned) {
  props.value = { rows: rows.filter((row) => row.name), turned };
  if (turned.length) trigger("input");
}

function make(tag, attributes, ...children) {
  const made = Object.assign(document.createElement(tag), attributes);
  made.append(...children);
  return made;
}

function drawRow(row, index) {
  const { words } = props;
  const name = make("input", { type: "text", className: "lora-name", placeholder: words.choose, value: titleOf(row.name) });
  name.setAttribute("list", id);
  name.setAttribute("aria-label", words.choose);
  name.autocomplete = "off";
  name.addEventListener("change", () => choose(index, name));
  if (!row.name) return make("div", { className: "lora-row" }, name);
  const range = { min: LOWEST, max: HIGHEST, step: STEP, value: row.weight };
  const slider = make("input", { type: "range", className: "lora-slider", ...range });
  const box = make("input", { type: "number", className: "lora-weight", ...range, min: LEAST, max: MOST });
  for (const [part, other] of [[slider, box], [box, slider]]) {
    part.setAttribute("aria-label", `${words.weight}: ${titleOf(row.name)}`);
    part.addEventListener("input", () => {
      other.value = part.value;
      rows[index].weight = Number(part.value);
      publish();
    });
  }
  const remove = make("button", { type: "button", className: "lora-remove", title: words.remove, textContent: "×" });
  remove.setAttribute("aria-label", `${words.remove}: ${titleOf(row.name)}`);
  remove.addEventListener("click", () => {
    const [gone] = rows.splice(index, 1);
    draw(rows);
    publish(gone.name);
  });
  return make("div", { className: "lora-row used" }, name, remove, slider, box);
}

function choose(index, input) {
  const name = nameOf(input.value);
  const isTwice = rows.some((row, other) => row.name === name && other !== index);
  const isWrong = input.value.trim() !== "" && (!name || isTwice);
  input.setCustomValidity(isWrong ? props.words.unknown : "");
  if (isWrong) {
    input.reportValidity();
    return;
  }
  const before = rows[index].name;
  if (before === name) return;
  rows[index] = { name, weight: before ? rows[index].weight : 1 };
  draw(rows);
  if (name) list.children[index].querySelector(".lora-slider").focus();
  publish(...[before, name].filter(Boolean));
}

function draw(next) {
  rows = next.filter((row) => row.name).map((row) => ({ ...row }));
  const isEmpty = props.choices.length === 0 && rows.length === 0;
  if (!isEmpty && rows.length < props.most) rows.push({ name: "", weight: 1 });
  const options = make("datalist", { id }, ...props.choices.map(({ shown }) => make("option", { value: shown })));
  const none = make("p", { className: "hint", textContent: props.words.none });
  list.replaceChildren(...(isEmpty ? [none] : rows.map(drawRow)), options);
}

watch(["value", "choices", "words"], () => draw(props.value?.rows ?? []));
draw(props.value?.rows ?? []);
