// The curves over the steps.

function drawCurves() {
  const box = $("curves");
  box.replaceChildren();
  const cells = scene.curves.map(() => put(box, "div")); // all of them, so that each has its final width
  plot.curves = scene.curves.map((curve, i) => drawCurve(cells[i], curve));
}

function drawCurve(cell, curve) {
  put(cell, "h2", {}, curve.label);
  const [left, right, top, bottom, height] = [46, 10, 6, 22, 150];
  const room = cell.clientWidth;
  const width = room - left - right;
  const svg = canvas(cell, room, top + height + bottom, { role: "img", "aria-label": `${curve.label} over the steps` });
  const known = curve.series.filter((s) => !off.has(s.name));
  const values = known.flatMap((s) => s.values.filter((v) => Number.isFinite(v) && (!curve.log || v > 0)));
  const lowest = values.reduce((a, b) => Math.min(a, b), Infinity);
  const highest = values.reduce((a, b) => Math.max(a, b), -Infinity);
  const x = linear(Math.min(0, scene.steps[0]), longest(), left, left + width);
  const ends = values.length ? [curve.off ? Math.min(0, lowest) : lowest, highest] : [curve.log ? 0.1 : 0, 1];
  const y = (curve.log ? logarithmic : linear)(ends[0], ends[1], top + height - 4, top + 5);
  for (const tick of y.ticks(4)) put(svg, "line", { x1: left, x2: left + width, y1: y.at(tick), y2: y.at(tick), class: "rule" });
  axes(svg, x, y, { left, top, width, height }, x.ticks(width / 70), y.ticks(4), counted);
  put(svg, "line", { x1: left, x2: left + width, y1: top + height, y2: top + height, class: "tick" });
  for (const series of known) drawSeries(svg, series, x, y, curve.log);
  const cursor = put(svg, "line", { y1: top, y2: top + height, class: "cursor" });
  const spots = put(svg, "g");
  const pick = (event) => {
    if (event.type === "pointermove" && !event.buttons) return;
    const step = x.back(event.clientX - svg.getBoundingClientRect().left);
    const i = Math.max(0, before(scene.steps, step));
    const next = scene.steps[i + 1] ?? Infinity;
    go(next - step < step - scene.steps[i] ? i + 1 : i);
  };
  cell.addEventListener("pointerdown", pick);
  cell.addEventListener("pointermove", pick);
  return { x, y, cursor, spots, known, log: curve.log };
}

const longest = () =>
  Math.max(scene.steps.at(-1), ...scene.curves.flatMap((c) => c.series.map((s) => s.steps.at(-1) ?? 0)), 1e-9);

function drawSeries(svg, series, x, y, log) {
  const look = data.looks[series.name];
  const fits = (value) => Number.isFinite(value) && (!log || value > 0);
  let d = "";
  let down = false;
  series.values.forEach((value, i) => {
    if (fits(value)) d += `${down ? "L" : "M"}${round(x.at(series.steps[i]))} ${round(y.at(value))}`;
    down = fits(value);
  });
  const width = look.width * 0.85;
  put(svg, "path", { d, class: "core", style: `stroke:${color(look.color)};stroke-width:${width}px;stroke-dasharray:${look.dash}` });
  for (const step of series.marks) {
    const i = series.steps.indexOf(step);
    if (i < 0 || !fits(series.values[i])) continue;
    const [u, v] = [x.at(step), y.at(series.values[i])];
    put(svg, "line", { x1: u, x2: u, y1: v - 6, y2: v + 6, style: `stroke:${color(look.color)};stroke-width:2px` });
  }
}

function moveCursors(step) {
  for (const { x, y, cursor, spots, known, log } of plot.curves) {
    cursor.setAttribute("x1", x.at(step));
    cursor.setAttribute("x2", x.at(step));
    spots.replaceChildren();
    for (const series of known) {
      const i = before(series.steps, step);
      if (i < 0 || !Number.isFinite(series.values[i]) || (log && series.values[i] <= 0)) continue;
      const look = data.looks[series.name];
      mark(spots, look.marker, [x.at(series.steps[i]), y.at(series.values[i])], ink.dot * 1.4, `fill:${color(look.color)}`);
    }
  }
}
