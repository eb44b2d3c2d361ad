// Settings that are dropped or pasted: a picture anywhere on the page, a text of settings into the prompt.
// Both are only handed on; ui/restoring.py reads them.

(() => {
  if (window.studio?.takePasted) return; // Gradio runs the page's head a second time
  const SETTINGS = /^[ \t]*Steps:[ \t]*\d+[ \t]*,.*:|,[ \t]*Steps:[ \t]*\d+[ \t]*(,|$)/m; // the line that A1111's web UI writes
  const MOST = 1000000; // characters of a text that is looked at
  const PICTURES = ["image/png", "image/jpeg", "image/webp"];
  const TAKERS = ".picture-input"; // what is dropped there is a picture to work on
  const shown = (selector) => [...document.querySelectorAll(selector)].find((part) => part.offsetParent !== null);
  const inbox = (selector) => shown(".workspace")?.querySelector(`.restore-inbox ${selector}`);
  const say = (name, file = "") => (inbox(`.restore-${name}`)?.textContent.trim() ?? "").replace("{name}", file);

  // What is dragged from this page itself, such as a finished picture, is not settings.
  let isOurs = false;
  document.addEventListener("dragstart", () => { isOurs = true; }, true);
  for (const kind of ["dragend", "mousemove"]) document.addEventListener(kind, () => { isOurs = false; }, true);
  const isForUs = (event) => !isOurs && event.dataTransfer?.types.includes("Files");
  const isTaken = (event) => Boolean(event.target.closest?.(TAKERS));
  const hint = (isOver) => shown(".workspace")?.querySelector(".block.drop-overlay")?.classList.toggle("over", isOver);
  for (const kind of ["dragenter", "dragover"]) {
    window.addEventListener(kind, (event) => {
      if (!isForUs(event)) return;
      hint(!isTaken(event));
      if (!isTaken(event)) event.preventDefault();
    }, true);
  }
  window.addEventListener("dragleave", (event) => { if (!event.relatedTarget) hint(false); }, true);
  let alone = ""; // said beside the answer: which of several files was read
  window.addEventListener("drop", (event) => {
    hint(false);
    if (!isForUs(event) || isTaken(event)) return;
    event.preventDefault(); // else the browser would leave the page and show the file
    event.stopPropagation();
    const given = [...event.dataTransfer.files];
    const file = given.find((found) => PICTURES.includes(found.type));
    const input = inbox("input[type=file]");
    if (!given.length || !input) return;
    if (!file) {
      window.studio.tell(say("no-picture", given[0].name), { isWrong: true });
      return;
    }
    alone = given.length > 1 ? say("one-picture", file.name) : "";
    const files = new DataTransfer();
    files.items.add(file);
    input.files = files.files;
    input.dispatchEvent(new Event("change", { bubbles: true }));
  }, true);

  // Fooocus writes its settings as JSON, and ComfyUI its graph: nodes by id, each of a class and with inputs.
  const isNode = (value) => typeof value?.class_type === "string" && typeof value.inputs === "object";
  const isSettings = (text) => {
    if (text.length > MOST) return false;
    if (!text.trimStart().startsWith("{")) return SETTINGS.test(text);
    try {
      const data = JSON.parse(text);
      const keys = Object.keys(data).map((key) => key.trim().toLowerCase().replaceAll(" ", "_"));
      return (keys.includes("prompt") && keys.includes("base_model")) || Object.values(data).some(isNode);
    } catch {
      return SETTINGS.test(text); // a prompt may begin with {a|b}
    }
  };
  let pasted = "";
  document.addEventListener("paste", (event) => {
    if (!event.target.matches?.(".prompt textarea")) return;
    const text = event.clipboardData?.getData("text/plain") ?? "";
    const button = inbox(".restore-text");
    if (!button || !isSettings(text)) return;
    event.preventDefault();
    pasted = text;
    button.click();
  }, true);

  // The list stands in its section, which may be folded and far below.
  const openList = (task) => {
    const section = document.getElementById(`restore-undo-${task}`)?.closest(".workspace")?.querySelector(".section-restore");
    const label = section?.querySelector(":scope > .label-wrap");
    if (!label) return;
    if (!label.classList.contains("open")) label.click();
    setTimeout(() => section.scrollIntoView({ block: "center" }), 100);
    label.focus({ preventScroll: true });
  };
  const makeOpener = (task) => {
    const opener = Object.assign(document.createElement("button"), { type: "button", className: "restored-more", textContent: say("show") });
    opener.addEventListener("click", () => {
      opener.closest(".told-one")?.querySelector(".told-close")?.click(); // which would cover the list
      openList(task);
    });
    return opener;
  };

  window.studio = Object.assign(window.studio ?? {}, {
    takePasted() { return pasted; },
    // Says what came of it beside the inputs that it filled, with a way back.
    showRestored(answer) {
      if (!answer) return;
      const { task, sentence, wrong, undo, more } = answer;
      const back = undo ? () => document.getElementById(`restore-undo-${task}`)?.click() : null;
      const told = [wrong ?? sentence, alone].filter(Boolean).join(" ");
      alone = "";
      window.studio.tell(told, { undo: back, isWrong: Boolean(wrong), extra: more ? makeOpener(task) : null });
    },
  });
})();
