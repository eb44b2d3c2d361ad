// A brush over a picture. Gradio runs this with `element`, `props` and `watch`.
// props.value = {picture: file or null, paint: file or null, mask: "data:image/png;..." or null, titles: {tool: words}}
// The mask is as large as the canvas, white where it was painted over, black elsewhere. The canvas is as large as the
// picture, or smaller where that is more than a browser allows; the server enlarges such a mask.

const COLOUR = "#ff3d7f";
const MOST_PIXELS = 16_000_000; // more than this a phone gives no canvas for
const STRIP_PIXELS = 1_000_000;
const SOLID_FROM = 128; // as in the engine: paler paint, such as an eraser leaves at an edge, is no mask

const image = element.querySelector("img");
const canvas = element.querySelector("canvas");
const ring = element.querySelector(".ring");
const width = element.querySelector(".width");
const context = canvas.getContext("2d");

let base = null; // an uploaded mask, as an image of the brush's colour
let strokes = []; // {points, size, erases}, from which everything is drawn again on undo
let stroke = null;
let erases = false;

const load = (source) => new Promise((resolve, reject) => {
  const loaded = new Image();
  loaded.onload = () => resolve(loaded);
  loaded.onerror = reject;
  loaded.src = source;
});

function drawStroke({ points, size, erases }) {
  context.globalCompositeOperation = erases ? "destination-out" : "source-over";
  context.strokeStyle = context.fillStyle = COLOUR;
  context.lineWidth = size;
  context.lineCap = context.lineJoin = "round";
  context.beginPath();
  context.arc(...points[0], size / 2, 0, 2 * Math.PI);
  context.fill(); // a tap: a line without length leaves no mark
  context.beginPath();
  context.moveTo(...points[0]);
  for (const point of points) context.lineTo(...point);
  context.stroke();
}

function redraw() {
  context.globalCompositeOperation = "source-over";
  context.clearRect(0, 0, canvas.width, canvas.height);
  if (base) context.drawImage(base, 0, 0, canvas.width, canvas.height);
  strokes.forEach(drawStroke);
}

function isBlank() {
  // Every pixel counts: a small dab would be lost in a smaller copy. In strips, to take no second canvas' memory.
  const rows = Math.max(1, Math.floor(STRIP_PIXELS / canvas.width));
  for (let top = 0; top < canvas.height; top += rows) {
    const strip = context.getImageData(0, top, canvas.width, Math.min(rows, canvas.height - top));
    if (new Uint32Array(strip.data.buffer).some((pixel) => pixel >>> 24 >= SOLID_FROM)) return false;
  }
  return true;
}

function exportMask() {
  if (!base && strokes.length === 0) return null;
  if ((base || strokes.some((drawn) => drawn.erases)) && isBlank()) return null;
  const mask = document.createElement("canvas");
  mask.width = canvas.width;
  mask.height = canvas.height;
  const view = mask.getContext("2d");
  view.drawImage(canvas, 0, 0);
  view.globalCompositeOperation = "source-in";
  view.fillStyle = "white";
  view.fillRect(0, 0, mask.width, mask.height);
  view.globalCompositeOperation = "destination-over";
  view.fillStyle = "black";
  view.fillRect(0, 0, mask.width, mask.height);
  return mask.toDataURL("image/png");
}

const publish = () => { props.value = { ...props.value, mask: exportMask() }; };

async function show() {
  const { picture, paint, titles } = props.value;
  for (const [tool, title] of Object.entries(titles)) {
    const input = element.querySelector(`.${tool}`);
    input.title = title;
    input.setAttribute("aria-label", title);
  }
  strokes = [];
  stroke = base = null;
  element.querySelector(".painter").classList.toggle("empty", !picture);
  if (!picture) return;
  image.src = picture.url;
  await image.decode();
  const scale = Math.min(1, Math.sqrt(MOST_PIXELS / (image.naturalWidth * image.naturalHeight)));
  canvas.width = Math.round(image.naturalWidth * scale);
  canvas.height = Math.round(image.naturalHeight * scale);
  canvas.dataset.ready = picture.path;
  if (paint) base = await load(paint.url);
  redraw();
  publish();
}

const brushSize = () => Math.max(2, (Number(width.value) / 100) * Math.min(canvas.width, canvas.height));

function place(event) {
  const box = canvas.getBoundingClientRect();
  const scale = canvas.width / box.width;
  const diameter = brushSize() / scale;
  Object.assign(ring.style, {
    width: `${diameter}px`, height: `${diameter}px`,
    left: `${event.clientX - box.left + canvas.offsetLeft}px`, top: `${event.clientY - box.top + canvas.offsetTop}px`,
  });
  return [(event.clientX - box.left) * scale, (event.clientY - box.top) * scale];
}

canvas.addEventListener("pointerdown", (event) => {
  if (event.button !== 0 || !event.isPrimary) return; // a second finger neither paints nor ends a stroke
  canvas.setPointerCapture(event.pointerId);
  stroke = { points: [place(event)], size: brushSize(), erases };
  strokes.push(stroke);
  drawStroke(stroke);
});
canvas.addEventListener("pointermove", (event) => {
  if (!event.isPrimary) return;
  const point = place(event);
  if (!stroke) return;
  drawStroke({ ...stroke, points: [stroke.points.at(-1), point] });
  stroke.points.push(point);
});
for (const end of ["pointerup", "pointercancel"]) {
  canvas.addEventListener(end, (event) => {
    if (!event.isPrimary) return;
    if (stroke) publish();
    stroke = null;
  });
}

function choose(isEraser) {
  erases = isEraser;
  element.querySelector(".brush").setAttribute("aria-pressed", String(!isEraser));
  element.querySelector(".eraser").setAttribute("aria-pressed", String(isEraser));
}
element.querySelector(".brush").addEventListener("click", () => choose(false));
element.querySelector(".eraser").addEventListener("click", () => choose(true));
element.querySelector(".undo").addEventListener("click", () => { strokes.pop(); redraw(); publish(); });
element.querySelector(".clear").addEventListener("click", () => { strokes = []; base = null; redraw(); publish(); });

watch("value", show);
show();
