// What stays in this browser: presets, the settings of each tab as they were left, and links that open with settings.
// Nothing here is sent anywhere but as a question (ui/asking.py), which the server answers and forgets.

(() => {
  if (window.studio?.keep) return; // Gradio runs the page's head a second time
  const LAST = "studio.last.";
  const TAB = "studio.tab";
  const PRESETS = "studio.presets";
  const MARK = "#recipe=";
  const CHANGED = "studio-presets"; // told to every list of presets on the page
  const PAUSE = 400; // after the last touch
  const LATER = 2500; // when the server has filled in what a touch asked for
  const PATIENCE = 20000;
  const LOCKED = 8000; // how long the inputs wait at most for what was left in them

  const read = (key) => { try { return localStorage.getItem(key); } catch { return null; } };
  const write = (key, value) => { try { localStorage.setItem(key, value); return true; } catch { return false; } };
  const parse = (text) => { try { return JSON.parse(text); } catch { return null; } };
  const press = (id) => document.getElementById(id)?.click();
  const { make, words, tell } = window.studio; // of announcing.js

  // The settings of each tab as they were left

  let isOpen = false; // before that the inputs show their defaults, which must not overwrite what was left
  let inView = ""; // the task of the tab that is looked at
  const written = {}; // by task, as JSON
  let isFull = false; // the browser took something no more, which is said once
  const waiting = new Map(); // by task, what was left in tabs that nobody has looked at yet
  const strip = (value) => (value?.before ? { ...value, before: null } : value); // an undo is not kept
  const keep = (task, names, values) => {
    if (!isOpen || waiting.has(task)) return;
    const text = JSON.stringify(Object.fromEntries(names.map((name, index) => [name, strip(values[index])])));
    const isFirst = written[task] === undefined; // nobody has touched it yet
    if (!isFirst && written[task] !== text && !write(LAST + task, text) && !isFull) {
      isFull = true;
      tell(words.not_kept, { isWrong: true });
    }
    written[task] = text;
  };
  const keepTab = (task) => {
    if (inView && inView !== task) look(); // what was done last in the tab that is left
    inView = task;
    if (!isOpen) return;
    write(TAB, task);
    if (waiting.has(task) && lastClicked?.closest?.(".actions")) { // a picture was sent there with its settings
      waiting.delete(task);
      written[task] = "";
    }
    if (waiting.has(task)) bringBack(task, holdBack());
    else lookSoon();
  };
  // What was left in a tab beside the one that the page opened with; `release` is called when it is there.
  const bringBack = async (task, release = () => {}) => {
    const shown = waiting.get(task);
    if (shown) {
      waiting.delete(task);
      await send(`wire-fill-${task}`, { do: "restore", shown, beside: true }, task);
      look(task);
    }
    release();
  };
  const readLast = () => {
    const kept = {};
    try {
      for (const key of Object.keys(localStorage).filter((name) => name.startsWith(LAST))) {
        kept[key.slice(LAST.length)] = parse(localStorage.getItem(key)) ?? {};
      }
    } catch { /* private mode: nothing was kept */ }
    return kept;
  };

  let soon = 0;
  let later = 0;
  let lastClicked = null;
  const look = (task = inView) => press(`wire-keep-${task}`);
  const lookSoon = (isTyping = false) => {
    clearTimeout(soon);
    soon = setTimeout(() => look(), PAUSE);
    if (isTyping) return;
    clearTimeout(later);
    later = setTimeout(() => look(), LATER);
  };
  const isKey = (event) => event.type !== "keyup" || event.key.length > 1;
  for (const kind of ["input", "change", "click", "keyup", "paste", "drop"]) {
    window.addEventListener(kind, (event) => {
      if (event.target.closest?.(".wires")) return;
      if (kind === "click") lastClicked = event.target;
      if (event.target.closest?.("button.generate")) bringAllBack(); // a picture may be sent to any tab
      if (isKey(event)) lookSoon(kind === "input");
    }, true);
  }
  const bringAllBack = () => { for (const task of [...waiting.keys()]) bringBack(task); };
  document.addEventListener("visibilitychange", () => { if (document.hidden) look(); });
  window.addEventListener("pagehide", () => look());

  // What the page begins with

  const takeLink = () => {
    if (!location.hash.startsWith(MARK)) return "";
    const text = location.hash.slice(MARK.length);
    history.replaceState(null, "", location.pathname + location.search);
    return text;
  };
  const openLink = async (link) => {
    const { task } = await send("wire-link", { link });
    if (task) await fill(task, { do: "open_link", link, select: true });
    return task;
  };
  // While what was left is on its way nothing can be typed that it would overwrite.
  const lock = (isOn) => {
    for (const part of document.querySelectorAll(".controls, .model-box")) {
      part.inert = isOn;
      part.ariaBusy = isOn ? "true" : null;
    }
  };
  const holdBack = () => {
    const watch = new MutationObserver(() => lock(true));
    watch.observe(document, { childList: true, subtree: true });
    lock(true);
    const release = () => { clearTimeout(limit); watch.disconnect(); lock(false); };
    const limit = setTimeout(release, LOCKED);
    return release;
  };
  const kept = readLast();
  const release = Object.keys(kept).length || location.hash.startsWith(MARK) ? holdBack() : () => {};
  const begin = async () => {
    const link = takeLink();
    const all = [...document.querySelectorAll("[id^=wire-fill-]")].map((button) => button.id.slice("wire-fill-".length));
    const tasks = all.filter((task) => kept[task]);
    const tab = read(TAB);
    inView = all.includes(tab) ? tab : all[0];
    for (const task of tasks) waiting.set(task, kept[task]);
    const shown = waiting.get(inView) ?? { model: waiting.get(tasks[0])?.model };
    waiting.delete(inView);
    if (tasks.length || tab) await fill(inView, { do: "restore", shown, select: true });
    const opened = link && await openLink(link);
    isOpen = true;
    release();
    if (opened) keepTab(opened);
    press("wire-opened");
    for (const task of all) look(task);
    const late = takeLink(); // pasted above the page in the meantime
    if (late) await openLink(late);
  };
  window.addEventListener("hashchange", async () => {
    const link = isOpen && takeLink();
    if (link) await openLink(link);
  });

  // Questions, one after the other: `ask` for an answer alone, `fill` for one that fills the tab

  let turn = Promise.resolve();
  let asked = null; // {id, resolve, text} of the question under way
  let count = 0;
  const unanswered = new Map(); // tasks by the id of a question that was waited for too long
  const send = (button, what, task = null) => {
    const answer = turn.then(() => new Promise((resolve) => {
      const id = `${Date.now()}-${count += 1}`;
      asked = { id, resolve, text: JSON.stringify({ id, ...what }) };
      setTimeout(() => {
        if (asked?.id !== id) return;
        unanswered.set(id, task);
        resolve({ wrong: words.no_answer });
      }, PATIENCE);
      press(button);
    }));
    turn = answer;
    return answer.then((told) => { act(told, task); lookSoon(); return told; });
  };
  const ask = (task, what) => send(`wire-ask-${task}`, what, task);
  const fill = async (task, what) => {
    await bringBack(task); // what fills a tab goes over what was left in it
    return send(`wire-fill-${task}`, what, task);
  };
  const takeQuestion = () => asked?.text ?? "";
  const hear = (answer) => {
    if (!answer) return;
    if (unanswered.has(answer.id)) {
      act(answer, unanswered.get(answer.id)); // it has filled the tab all the same
      unanswered.delete(answer.id);
    }
    else if (answer.id === undefined) act(answer);
    else if (answer.id === asked?.id) {
      const { resolve } = asked;
      asked = null;
      resolve(answer);
    }
  };
  const act = (answer, task) => {
    const { sentence, wrong, copy, before } = answer;
    if (copy) copyLink(copy, answer);
    else if (wrong) tell(wrong, { isWrong: true });
    else if (sentence) tell(sentence, { undo: before && (() => fill(task, { do: "put_back", shown: before })) });
  };

  const copyLink = async (recipe, { sentence, by_hand: byHand }) => {
    const link = location.origin + location.pathname + location.search + MARK + recipe;
    try {
      await navigator.clipboard.writeText(link);
      tell(sentence);
    } catch { // a page without https may not write there
      const field = make("input", { type: "text", readOnly: true, value: link });
      field.setAttribute("aria-label", byHand);
      tell(byHand, { extra: field });
      field.focus();
      field.select();
    }
  };

  // Presets: [{name, tasks, values, ...}], written anew from what is there, for another page may have changed them

  const presets = {
    list() {
      const kept = parse(read(PRESETS));
      return Array.isArray(kept) ? kept.filter((preset) => preset && typeof preset.name === "string" && Array.isArray(preset.tasks)) : [];
    },
    // Puts a changed list in place; false where the browser has no room or keeps nothing.
    replace(list) {
      const isKept = write(PRESETS, JSON.stringify(list));
      window.dispatchEvent(new Event(CHANGED));
      if (!isKept) tell(words.no_room, { isWrong: true });
      return isKept;
    },
    // Calls back when the list has changed, here or in another page, until the part is gone.
    follow(element, redraw) {
      const listen = () => {
        if (element.isConnected) { redraw(); return; }
        window.removeEventListener(CHANGED, listen);
        window.removeEventListener("storage", heard);
      };
      const heard = (event) => { if (event.key === PRESETS) listen(); };
      window.addEventListener(CHANGED, listen);
      window.addEventListener("storage", heard);
    },
  };

  window.studio = Object.assign(window.studio ?? {}, {
    keep, keepTab, begin, isOpen: () => isOpen, ask, fill, takeQuestion, hear, presets,
  });
})();
