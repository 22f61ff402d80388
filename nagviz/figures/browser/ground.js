// The ground: the slice, and the paths on it.

function drawGround() {
  const box = $("ground");
  box.replaceChildren();
  const room = box.clientWidth;
  const [left, right, top, bottom] = [46, 9, 6, 24];
  let width = room - left - right;
  let height = width * scene.shape;
  const tallest = Math.max(280, innerHeight * 0.68);
  if (height > tallest) {
    width = scene.equal ? (width * tallest) / height : width;
    height = tallest;
  }
  const svg = canvas(box, room, height + top + bottom, {
    role: "group",
    tabindex: 0,
    "aria-label": `${scene.quantity} over ${scene.labels[0]} and ${scene.labels[1]}; arrow keys move a probe`,
  });
  const [x0, x1, y0, y1] = [scene.x[0], scene.x.at(-1), scene.y[0], scene.y.at(-1)];
  const x = linear(x0, x1, left, left + width);
  const y = linear(y0, y1, top + height, top);
  const middle = [left + width / 2, top + height / 2];
  const place = ([a, b]) => {
    const [u, v] = [x.at(a) - middle[0], y.at(b) - middle[1]];
    const over = Math.max(1, Math.abs(u) / FAR, Math.abs(v) / FAR);
    return [middle[0] + u / over, middle[1] + v / over];
  };
  plot = { svg, x, y, place, left, top, width, height };
  $("xlabel").style.width = `${left + width}px`;
  const definitions = put(svg, "defs");
  put(put(definitions, "clipPath", { id: "inside" }), "rect", { x: left, y: top, width, height });
  hatching(definitions, "hatching");
  const clipped = put(svg, "g", { "clip-path": "url(#inside)" });
  const fields = put(clipped, "g", { transform: `translate(${left} ${top}) scale(${width / UNIT} ${height / UNIT})` });
  if (scene.bar) put(fields, "rect", { width: UNIT, height: UNIT, style: `fill:${color(scene.base)}` });
  for (const [shade, d] of scene.regions) {
    put(fields, "path", { d, class: "region", "fill-rule": "evenodd", style: `fill:${color(shade)}` });
  }
  if (scene.hatch) {
    // the pattern keeps its size on the page, so it is laid over in pixels
    const scale = `translate(${left} ${top}) scale(${width / UNIT} ${height / UNIT})`;
    put(put(definitions, "clipPath", { id: "broken" }), "path", { d: scene.hatch, transform: scale });
    put(clipped, "rect", { x: left, y: top, width, height, fill: "url(#hatching)", "clip-path": "url(#broken)" });
    put(fields, "path", { d: scene.hatch, class: "hatch", style: "fill:none" });
  }
  put(svg, "rect", { x: left, y: top, width, height, class: "frame" });
  axes(svg, x, y, plot, x.ticks(width / 90), y.ticks(height / 70), show);
  if (!scene.bar) put(svg, "text", { x: middle[0], y: middle[1], class: "notice" }, "no finite loss on this slice");
  for (const path of scene.paths) path.places = path.at.map(place);
  plot.paths = put(clipped, "g", { id: "paths" });
  plot.ends = put(svg, "g", { id: "ends", "clip-path": "url(#inside)" });
  plot.probe = put(svg, "g");
  const tip = put(box, "div", { id: "tip", role: "status" });
  tip.hidden = true;
  plot.tip = tip;
  listen(svg);
}

function hatching(definitions, id) {
  const pattern = put(definitions, "pattern", { id, width: 7, height: 7, patternUnits: "userSpaceOnUse", patternTransform: "rotate(45)" });
  put(pattern, "rect", { width: 7, height: 7, style: "fill:var(--void)" });
  put(pattern, "line", { y2: 7, style: "stroke:var(--broken);stroke-width:2px" });
}

function axes(svg, x, y, { left, top, width, height }, across, up, say) {
  const floor = top + height;
  for (const value of across) {
    const at = x.at(value);
    put(svg, "line", { x1: at, x2: at, y1: floor, y2: floor + 4, class: "tick" });
    put(svg, "text", { x: at, y: floor + 17, "text-anchor": "middle" }, say(value));
  }
  for (const value of up) {
    const at = y.at(value);
    put(svg, "line", { x1: left - 4, x2: left, y1: at, y2: at, class: "tick" });
    put(svg, "text", { x: left - 7, y: at + 4, "text-anchor": "end" }, show(value));
  }
}

// How far a path has come at a step: the last of its rows, and where it is, which may be between two rows.
function walked(path, step) {
  const last = before(path.steps, step);
  if (last < 0 || last + 1 === path.at.length) return { last, head: path.at[last] };
  const share = (step - path.steps[last]) / (path.steps[last + 1] - path.steps[last]);
  return { last, head: path.at[last].map((value, k) => value + share * (path.at[last + 1][k] - value)) };
}

// Whether a path has come to where it is no longer finite.
const isLost = (path, step) => path.lost !== null && step >= path.lost;

function drawPaths(step) {
  plot.paths.replaceChildren();
  plot.ends.replaceChildren();
  for (const path of [...scene.paths].sort((a, b) => data.looks[a.name].order - data.looks[b.name].order)) {
    if (!off.has(path.name)) drawPath(path, step);
  }
}

function drawPath(path, step) {
  const look = data.looks[path.name];
  const shade = color(look.color);
  const stroke = `stroke:${shade};stroke-width:${look.width}px;stroke-dasharray:${look.dash}`;
  const group = put(plot.paths, "g", { "data-name": path.name });
  const ends = put(plot.ends, "g");
  const line = (points) => {
    const d = polyline(points);
    put(group, "path", { d, class: "halo", style: `stroke-width:${look.width + 2 * ink.halo}px` });
    put(group, "path", { d, class: "core", style: stroke });
  };
  const points = path.places;
  const { last, head } = walked(path, step);
  const done = last === points.length - 1 && (path.lost === null || isLost(path, step));
  if (!done) put(group, "path", { d: polyline(points), class: "core ghost", style: stroke });
  if (last < 0) return;
  const here = plot.place(head);
  line([...points.slice(0, last + 1), here]);
  for (let i = 1; i <= last; i++) {
    if (Math.floor(path.steps[i] / scene.every) > Math.floor(path.steps[i - 1] / scene.every)) {
      mark(group, look.marker, points[i], ink.dot, `fill:${shade}`);
    }
  }
  if (path.ahead && Number.isFinite(path.ahead[last]?.[0])) drawAhead(ends, points[last], plot.place(path.ahead[last]));
  start(ends, points[0], shade);
  if (!done) mark(ends, look.marker, here, ink.head, `fill:${shade}`);
  else (path.lost === null ? star : cross)(ends, here, shade);
}

function drawAhead(parent, [x, y], [u, v]) {
  const length = Math.hypot(u - x, v - y);
  if (length < 1) return;
  const turn = (Math.atan2(v - y, u - x) * 180) / Math.PI;
  const d = `M0 0H${round(length)}M${round(length - Math.min(6, length))} -3.5L${round(length)} 0L${round(length - Math.min(6, length))} 3.5`;
  const transform = `translate(${round(x)} ${round(y)}) rotate(${round(turn)})`;
  put(parent, "path", { d, transform, class: "halo", style: "stroke-width:4.4px" });
  put(parent, "path", { d, transform, class: "ahead" });
}
