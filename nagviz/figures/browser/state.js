// What all parts of the page share. They stand in one function, in the order of their names in webpage.py.

const $ = (id) => document.getElementById(id);
const data = JSON.parse($("data").textContent);
const ink = data.ink; // sizes, in px
const UNIT = 10000; // contours are whole numbers from 0 to this
const NEAR = 14; // px from the pointer to a path that is meant
const FAR = 1e5; // px: a point beyond is drawn there, in its own direction from the middle
const SLOWEST = 100; // ms that a frame may last: then playing slows down rather than leaps
const LEAP = 500; // ms between the steps that are shown to who wants less motion
const still = matchMedia("(prefers-reduced-motion: reduce)");

// What is drawn now.
let scene; // the slice with its paths, numbers decoded
let time = 0; // index into scene.steps; a fraction between two of them, while playing
let plot; // places on the ground
let playing = 0; // handle of the next frame
let probe = null; // what the read-out is about
const off = new Set(); // names that are switched off
