// Time, and what a person does.

function update() {
  const step = stepNow();
  const i = Math.floor(time);
  $("step").value = i;
  const words = `${counted(scene.steps[i])} of ${counted(scene.steps.at(-1))}`;
  $("now").textContent = words;
  $("step").setAttribute("aria-valuetext", `step ${words}`);
  drawPaths(step);
  moveCursors(step);
  fillTable(scene.steps[i]);
}

function go(index) {
  if (index < 0) return;
  time = Math.min(index, scene.steps.length - 1);
  update();
}

function stop() {
  cancelAnimationFrame(playing);
  playing = 0;
  $("play").textContent = "▶ Play";
  $("play").setAttribute("aria-label", "play");
}

function play() {
  const last = scene.steps.length - 1;
  if (time >= last) time = 0;
  $("play").textContent = "❚❚ Pause";
  $("play").setAttribute("aria-label", "pause");
  const pace = last / Math.max(2500, Math.min(9000, 60 * last)); // steps of the slider in a millisecond
  let then = performance.now();
  const frame = (now) => {
    const passed = now - then;
    if (!still.matches) {
      then = now;
      // the first frame may have begun before the click, and a page in the background has few
      time = Math.min(last, time + pace * Math.max(0, Math.min(passed, SLOWEST)));
      update();
    } else if (passed >= LEAP) {
      then = now;
      time = Math.min(last, Math.ceil(time + pace * LEAP));
      update();
    }
    if (time >= last) stop();
    else playing = requestAnimationFrame(frame);
  };
  playing = requestAnimationFrame(frame);
  update();
}

const turn = () => (playing ? stop() : play());

// What a person does.

$("step").addEventListener("input", () => {
  time = Number($("step").value);
  update();
});
$("play").addEventListener("click", turn);
document.addEventListener("keydown", (event) => {
  if (event.key !== " " || event.target.closest("button, select, [type=checkbox]")) return;
  event.preventDefault();
  turn();
});

const dark = matchMedia("(prefers-color-scheme: dark)");
const root = document.documentElement;
const isDark = () => (root.dataset.theme ? root.dataset.theme === "dark" : dark.matches);
const nameTheme = () => {
  $("theme").textContent = isDark() ? "☀ light" : "☾ dark";
  $("theme").setAttribute("aria-label", isDark() ? "switch to light colours" : "switch to dark colours");
};
$("theme").addEventListener("click", () => {
  root.dataset.theme = isDark() ? "light" : "dark";
  nameTheme();
});
dark.addEventListener("change", nameTheme);
nameTheme();

if (data.scenes.length > 1) {
  for (const [i, each] of data.scenes.entries()) put($("scene"), "option", { value: i }, each.title);
  $("choice").hidden = false;
  $("scene").addEventListener("change", () => open(Number($("scene").value)));
}
open(0);
let width = innerWidth;
addEventListener("resize", () => {
  if (innerWidth === width) return; // a phone's bars come and go as it scrolls
  width = innerWidth;
  draw();
});
