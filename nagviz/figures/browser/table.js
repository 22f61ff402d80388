// The table of optimizers, and the key.

function drawTable() {
  const table = $("optimizers");
  table.replaceChildren();
  put(table, "caption", { class: "unseen" }, "optimizers, at the step of the slider");
  const head = put(put(table, "thead"), "tr");
  scene.heading = put(head, "th", { scope: "col" });
  const columns = ["on the slice", ...(measured() ? [measured().label] : []), ...(hides() ? ["off plane"] : [])];
  for (const column of columns) put(head, "th", { scope: "col" }, column);
  const body = put(table, "tbody");
  scene.rows = scene.names.map((name) => {
    const row = put(body, "tr", { "data-name": name });
    row.classList.toggle("off", off.has(name));
    const label = put(put(row, "th", { scope: "row" }), "label");
    const box = put(label, "input", { type: "checkbox" });
    box.checked = !off.has(name);
    box.addEventListener("change", () => toggle(name, box.checked, row));
    sample(label, data.looks[name]);
    put(label, "span", { class: "name" }, name);
    return { path: scene.paths.find((path) => path.name === name), name, cells: columns.map(() => put(row, "td")) };
  });
}

function sample(parent, look) {
  const svg = canvas(parent, 30, 14, { "aria-hidden": "true" });
  put(svg, "path", { d: "M1 7H29", class: "core", style: `stroke:${color(look.color)};stroke-width:${look.width}px;stroke-dasharray:${look.dash}` });
  mark(svg, look.marker, [15, 7], ink.head, `fill:${color(look.color)}`);
}

function toggle(name, on, row) {
  if (on) off.delete(name);
  else off.add(name);
  row.classList.toggle("off", !on);
  look(null);
  drawCurves();
  update();
}

// What is told of a step that a row of the table does not have is that of the row before, and marked as such.
function fillTable(step) {
  scene.heading.textContent = `at step ${counted(step)}`;
  let early = false;
  for (const { path, name, cells } of scene.rows) {
    const told = [placed(path, step)];
    if (measured()) told.push(valueOf(name, step) ?? { words: "–" });
    if (hides()) told.push(path?.hidden ? placed(path, step, (row) => full(path.hidden[row], 3)) : { words: "–" });
    told.forEach(({ words, value, at }, k) => {
      const before = at !== undefined && at !== step;
      cells[k].textContent = words ?? full(value);
      cells[k].classList.toggle("early", before);
      cells[k].title = before ? `of step ${counted(at)}` : "";
      early ||= before;
    });
  }
  $("early").hidden = !early;
}

function placed(path, step, say = (row) => told(path.at[row])) {
  const last = path ? before(path.steps, step) : -1;
  if (last < 0) return { words: path ? "–" : "no path" };
  if (isLost(path, step)) return { words: "not finite" };
  return { words: say(last), at: path.steps[last] };
}

function drawKey() {
  const key = $("key");
  key.replaceChildren();
  const entry = (words, paint, width = 16) => {
    const item = put(key, "li");
    paint(canvas(item, width, 16, { "aria-hidden": "true" }));
    put(item, "span", {}, words);
  };
  const shade = "var(--muted)";
  if (scene.paths.length) {
    entry("start", (svg) => start(svg, [8, 8], shade));
    if (scene.paths.some((path) => path.lost === null)) entry("end", (svg) => star(svg, [8, 8], shade));
    entry(scene.pace, (svg) => mark(svg, data.marks.start, [8, 8], ink.dot, `fill:${shade}`));
  }
  if (scene.paths.some((path) => path.lost !== null)) entry("not finite from here", (svg) => cross(svg, [8, 8], shade));
  if (scene.paths.some((path) => path.ahead)) entry("look-ahead", (svg) => drawAhead(svg, [1, 8], [23, 8]), 26);
  if (scene.curves.some((c) => c.series.some((s) => s.marks.length))) {
    entry("restart", (svg) => put(svg, "line", { x1: 8, x2: 8, y1: 2, y2: 14, style: `stroke:${shade};stroke-width:2px` }));
  }
  if (scene.hatch) {
    entry("loss not finite", (svg) => {
      hatching(put(svg, "defs"), "hatching-key");
      put(svg, "rect", { x: 1, y: 1, width: 20, height: 14, fill: "url(#hatching-key)", style: "stroke:var(--broken)" });
    }, 22);
  }
}
