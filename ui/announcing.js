// What the browser says by itself: one message at a time, above everything, with an undo where there is one.

(() => {
  if (window.studio?.tell) return; // Gradio runs the page's head a second time
  const LOOKS = 10000; // how long a message stays for those who point
  const make = (tag, attributes, ...children) => {
    const made = Object.assign(document.createElement(tag), attributes);
    made.append(...children);
    return made;
  };
  // What a table by language holds for this browser's.
  const wanted = (navigator.language || "en").toLowerCase().split("-")[0];
  const inLanguage = (table) => Object.entries(table).find(([name]) => name.toLowerCase().split("-")[0] === wanted)?.[1] ?? table.en;
  const words = inLanguage(window.studio?.spoken ?? {}) ?? {};

  const box = document.createElement("div");
  box.className = "told-box";
  box.setAttribute("role", "status");
  let takeBack = null; // the undo of the message that is shown
  let leave = 0;
  let cameFrom = null; // where the keyboard was before it came into the box
  const dismiss = () => {
    const wasThere = Boolean(box.firstChild);
    const back = box.contains(document.activeElement) ? cameFrom : null;
    clearTimeout(leave);
    takeBack = null;
    box.replaceChildren();
    if (back?.isConnected) back.focus({ preventScroll: true });
    return wasThere;
  };
  const tell = (sentence, { undo, lines = [], isWrong = false, extra = null } = {}) => {
    const parts = [make("p", { textContent: sentence })];
    if (lines.length) parts.push(make("ul", {}, ...lines.map((line) => make("li", { textContent: line }))));
    if (extra) parts.push(extra);
    const close = make("button", { type: "button", className: "told-close", title: words.close, textContent: "×", onclick: dismiss });
    close.setAttribute("aria-label", words.close);
    takeBack = undo ? () => { dismiss(); undo(); } : null;
    hasWritten = false;
    const text = make("div", { className: "told-text" }, ...parts);
    const buttons = undo ? [makeUndo(), close] : [close];
    box.replaceChildren(make("div", { className: isWrong ? "told-one wrong" : "told-one" }, text, ...buttons));
    wait();
  };
  const isMac = /mac|iphone|ipad/i.test(navigator.platform);
  const hasKeys = matchMedia("(hover: hover)").matches;
  const makeUndo = () => {
    const button = make("button", { type: "button", className: "told-undo", textContent: words.undo, onclick: () => takeBack() });
    button.setAttribute("aria-keyshortcuts", isMac ? "Meta+Z" : "Control+Z");
    if (hasKeys) button.append(make("kbd", { textContent: isMac ? "⌘Z" : "Ctrl+Z" }));
    return button;
  };

  // An undo does not race against somebody who works by keys, nor take Ctrl+Z from a text that was written in since.

  let isByKey = false;
  let hasWritten = false;
  const wait = () => {
    clearTimeout(leave);
    const stays = (isByKey && takeBack) || box.querySelector("ul, input") || box.matches(":hover, :focus-within");
    if (!stays) leave = setTimeout(dismiss, LOOKS);
  };
  box.addEventListener("mouseleave", wait);
  box.addEventListener("focusout", () => setTimeout(wait));
  box.addEventListener("mouseenter", () => clearTimeout(leave));
  box.addEventListener("focusin", (event) => {
    clearTimeout(leave);
    if (event.relatedTarget && !box.contains(event.relatedTarget)) cameFrom = event.relatedTarget;
  });
  window.addEventListener("pointerdown", () => { isByKey = false; wait(); }, true);
  window.addEventListener("keydown", (event) => { isByKey = true; if (event.key === "Tab") wait(); }, true);
  window.addEventListener("input", (event) => { hasWritten ||= event.isTrusted; }, true);
  window.addEventListener("keydown", (event) => {
    const isUndo = event.key.toLowerCase() === "z" && (event.ctrlKey || event.metaKey) && !event.shiftKey && !event.altKey;
    if (!isUndo || !takeBack || event.defaultPrevented || event.isComposing) return;
    if (hasWritten && event.target.matches?.("input, textarea")) return;
    event.preventDefault();
    takeBack();
  });

  window.studio = Object.assign(window.studio ?? {}, { make, inLanguage, words, tell, dismiss });
  const start = () => document.body.prepend(box); // first for the keyboard, too
  if (document.readyState === "loading") document.addEventListener("DOMContentLoaded", start);
  else start();
})();
