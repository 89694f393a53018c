"use strict";
// Plays an episode. Text of the episode reaches the page through textContent alone.
(() => {
  const MAGIC = "SDEPISOD", VERSION = 2, HEAD = 60;
  const ABSENT = 0, HALTED = 2;
  const NO_LIGHT = 0, STOP_SIGN = 4;
  const MARKED = { collisions: "#e5384a", offroad: "#f08c1e", red_lights: "#b645d6", stop_signs: "#7a6cf0" };
  const MARK_NAMES = { collisions: "collision", offroad: "off the road", red_lights: "red light", stop_signs: "stop sign" };
  const TWO_WHEELERS = ["motorcycle", "bicycle"];
  const PANEL_PAUSE = 90; // between two updates of the panel while it plays [ms]
  const RING_TIME = 1.5; // how long an incident is circled [s]

  const byId = (id) => document.getElementById(id);
  const make = (tag, text, parent) => {
    const element = document.createElement(tag);
    if (text !== undefined) element.textContent = text;
    if (parent) parent.append(element);
    return element;
  };

  // ---- reading -------------------------------------------------------------------------------

  async function read() {
    const text = atob(byId("episode").textContent.trim());
    const bytes = new Uint8Array(text.length);
    for (let i = 0; i < bytes.length; i++) bytes[i] = text.charCodeAt(i);
    if (text.slice(0, 8) !== MAGIC) throw new Error("this page holds no episode");
    const version = new DataView(bytes.buffer).getUint32(8, true);
    if (version !== VERSION) throw new Error(`the episode has version ${version}, this page reads ${VERSION}`);
    if (!("DecompressionStream" in window)) throw new Error("this browser is too old: it cannot inflate");
    const stream = new Blob([bytes.subarray(HEAD)]).stream().pipeThrough(new DecompressionStream("deflate"));
    const body = new Uint8Array(await new Response(stream).arrayBuffer());
    const length = new DataView(body.buffer).getUint32(0, true);
    const about = JSON.parse(new TextDecoder().decode(body.subarray(4, 4 + length)));
    const tracks = {};
    let start = 4 + length;
    for (const [name, type, shape, scale] of about.arrays) {
      const count = shape.reduce((a, b) => a * b, 1);
      const [array, size] = unfiltered(body, start, type, count, shape[shape.length - 1]);
      tracks[name] = { data: array, shape, scale };
      start += count * size;
    }
    return { about, tracks };
  }

  function unfiltered(body, start, type, count, row) {
    const Kind = { uint8: Uint8Array, int16: Int16Array, int32: Int32Array, float16: Uint16Array }[type];
    const size = Kind.BYTES_PER_ELEMENT, out = new Kind(count);
    for (let i = 0, value = 0; i < count; i++) {
      let step = 0;
      for (let b = 0; b < size; b++) step |= body[start + b * count + i] << (8 * b);
      value = i % row === 0 ? step : (value + step) | 0;
      out[i] = value;
    }
    return [type === "float16" ? halves(out) : out, size];
  }

  function halves(bits) {
    const out = new Float32Array(bits.length);
    for (let i = 0; i < bits.length; i++) {
      const sign = bits[i] & 0x8000 ? -1 : 1, power = (bits[i] >> 10) & 31, part = bits[i] & 1023;
      if (power === 31) out[i] = part ? NaN : sign * Infinity;
      else out[i] = sign * (power ? 2 ** (power - 15) * (1 + part / 1024) : 2 ** -14 * (part / 1024));
    }
    return out;
  }

  // ---- the episode ---------------------------------------------------------------------------

  function open({ about, tracks }) {
    const agents = tracks.x.shape[0], frames = tracks.x.shape[1], last = frames - 1, dt = about.dt;
    const at = (name, ...index) => {
      const array = tracks[name];
      let place = index[0];
      for (let i = 1; i < index.length; i++) place = place * array.shape[i] + index[i];
      return array.data[place] * array.scale;
    };

    // View: metres at the middle of the canvas and pixels a metre.
    const view = { x: 0, y: 0, scale: 4 };
    const state = { time: 0, playing: false, rate: 1, agent: -1, follow: false, observed: false, dirty: true };
    const canvas = byId("scene"), pen = canvas.getContext("2d", { alpha: false });
    let width = 1, height = 1, ratio = 1, colours = {};

    const frame = () => Math.min(last, Math.floor(state.time + 1e-6));
    const typeName = (track) => about.body_types[at("track_type", track)];

    /** Pose of an agent between frames: [x, y, heading, track], or null while it is absent. */
    function pose(agent, time) {
      const f = Math.min(last, Math.floor(time + 1e-6)), u = Math.min(1, Math.max(0, time - f));
      if (at("status", agent, f) === ABSENT) return null;
      const track = at("track", agent, f);
      const x = at("x", agent, f), y = at("y", agent, f), heading = at("heading", agent, f);
      if (f === last || u === 0) return [x, y, heading, track];
      const next = at("track", agent, f + 1);
      let x1, y1, h1;
      if (next === track || (next >= 0 && !at("track_placed", next))) {
        [x1, y1, h1] = [at("x", agent, f + 1), at("y", agent, f + 1), at("heading", agent, f + 1)];
      } else if (at("left_frame", track) === f + 1) {
        [x1, y1, h1] = [at("left_x", track), at("left_y", track), at("left_heading", track)];
      } else {
        const way = at("speed", agent, f) * dt;
        [x1, y1, h1] = [x + way * Math.cos(heading), y + way * Math.sin(heading), heading];
      }
      const turn = Math.atan2(Math.sin(h1 - heading), Math.cos(h1 - heading));
      return [x + u * (x1 - x), y + u * (y1 - y), heading + u * turn, track];
    }

    function lines(prefix, count) {
      const found = [];
      for (let i = 0; i < count; i++) {
        const first = tracks[`${prefix}_first`].data[i], end = tracks[`${prefix}_first`].data[i + 1];
        const points = new Float64Array(2 * (end - first));
        const box = [Infinity, Infinity, -Infinity, -Infinity];
        for (let p = first; p < end; p++) {
          const x = at(`${prefix}_x`, p), y = at(`${prefix}_y`, p), k = 2 * (p - first);
          points[k] = x;
          points[k + 1] = y;
          box[0] = Math.min(box[0], x); box[1] = Math.min(box[1], y);
          box[2] = Math.max(box[2], x); box[3] = Math.max(box[3], y);
        }
        found.push({ points, box });
      }
      return found;
    }
    const outlines = lines("outline", tracks.outline_kind.shape[0]);
    const legs = lines("route_leg", tracks.route_leg_track.shape[0]);
    const byKind = [0, 1, 2, 3, 4, 5].map((kind) => outlines.filter((_, i) => tracks.outline_kind.data[i] === kind));

    const incidents = [];
    for (let f = 1; f < frames; f++) {
      for (let a = 0; a < agents; a++) {
        const event = at("event", a, f);
        if (!event) continue;
        about.events.forEach((name, bit) => {
          if (!(event >> bit & 1) || !Object.hasOwn(MARKED, name)) return;
          const before = at("track", a, f - 1);
          const left = before >= 0 && at("left_frame", before) === f;
          const x = left ? at("left_x", before) : at("x", a, f), y = left ? at("left_y", before) : at("y", a, f);
          incidents.push({ frame: f, agent: a, name, x, y });
        });
      }
    }

    // ---- drawing -----------------------------------------------------------------------------

    function readColours() {
      const style = getComputedStyle(document.documentElement);
      const names = ["ground", "asphalt", "edge", "paint", "lane-line", "centre-line", "outline", "glass",
        "headlight", "brake-light", "route", "focus", "learner", "scripted", "other", "walker", "cyclist", "halted",
        "cross", "observed", "observed-edge", "sign-red", "light-0", "light-1", "light-2", "light-3", "light-4", "ink",
        "soft", "rule", "accent", "card"];
      colours = Object.fromEntries(names.map((name) => [name, style.getPropertyValue(`--${name}`).trim()]));
      state.dirty = true;
    }

    const visible = (box) => {
      const w = 0.5 * width / view.scale + 2, h = 0.5 * height / view.scale + 2;
      return box[0] < view.x + w && box[2] > view.x - w && box[1] < view.y + h && box[3] > view.y - h;
    };

    function trace(list, close) {
      pen.beginPath();
      for (const { points, box } of list) {
        if (!visible(box)) continue;
        pen.moveTo(points[0], points[1]);
        for (let i = 2; i < points.length; i += 2) pen.lineTo(points[i], points[i + 1]);
        if (close) pen.closePath();
      }
    }

    function stroke(colour, metres, pixels) {
      pen.strokeStyle = colour;
      pen.lineWidth = Math.max(metres, pixels / view.scale);
      pen.stroke();
    }

    function drawGround() {
      pen.setTransform(ratio, 0, 0, ratio, 0, 0);
      pen.fillStyle = colours.ground;
      pen.fillRect(0, 0, width, height);
      // From here on everything is drawn in metres, north up.
      const s = ratio * view.scale;
      pen.setTransform(s, 0, 0, -s, ratio * width / 2 - s * view.x, ratio * height / 2 + s * view.y);
      pen.lineJoin = "round";
      pen.lineCap = "butt";
      const [asphalt, edge, lane, centre, crosswalk, giveWay] = byKind;
      trace(asphalt, true);
      pen.fillStyle = colours.asphalt;
      pen.fill();
      stroke(colours.asphalt, 0.2, 0.6);
      if (view.scale > 0.7) {
        trace(edge, false);
        stroke(colours.edge, 0.18, 0.7);
      }
      if (view.scale > 1.6) {
        trace(centre, false);
        stroke(colours["centre-line"], 0.12, 0.6);
        trace(lane, false);
        pen.setLineDash([3, 3]);
        stroke(colours["lane-line"], 0.14, 0.6);
        pen.setLineDash([]);
      }
      if (view.scale > 0.7) {
        trace(crosswalk, true);
        pen.fillStyle = colours.paint;
        pen.fill();
        trace(giveWay, false);
        stroke(colours.paint, 0.4, 1);
      }
    }

    /** Corners of a sign of eight sides. */
    function octagon(x, y, radius) {
      pen.beginPath();
      for (let k = 0; k < 8; k++) {
        const turn = Math.PI / 8 + k * Math.PI / 4;
        pen.lineTo(x + radius * Math.cos(turn), y + radius * Math.sin(turn));
      }
      pen.closePath();
    }

    function drawLights(f) {
      const count = tracks.line_x.shape[0], radius = Math.max(0.8, 2.5 / view.scale);
      for (let i = 0; i < count; i++) {
        const x0 = at("line_x", i, 0), y0 = at("line_y", i, 0), x1 = at("line_x", i, 1), y1 = at("line_y", i, 1);
        if (!visible([Math.min(x0, x1), Math.min(y0, y1), Math.max(x0, x1), Math.max(y0, y1)])) continue;
        const light = at("light", i, f);
        pen.beginPath();
        pen.moveTo(x0, y0);
        pen.lineTo(x1, y1);
        stroke(colours[`light-${light}`], 0.55, 1.5);
        if (light === NO_LIGHT) continue;
        const length = Math.max(Math.hypot(x1 - x0, y1 - y0), 1e-6);
        const x = x1 + 1.7 * radius * (x1 - x0) / length, y = y1 + 1.7 * radius * (y1 - y0) / length;
        const parts = light === STOP_SIGN
          ? [[1.25, "outline"], [1.08, "light-4"], [0.76, "sign-red"]]
          : [[1, "outline"], [0.72, `light-${light}`]];
        for (const [share, name] of parts) {
          if (light === STOP_SIGN) octagon(x, y, share * radius);
          else {
            pen.beginPath();
            pen.arc(x, y, share * radius, 0, 7);
          }
          pen.fillStyle = colours[name];
          pen.fill();
        }
      }
    }

    function drawRoute(f) {
      const leg = at("route_leg", state.agent, f), here = pose(state.agent, state.time);
      if (leg < 0 || !here) return;
      const { points } = legs[leg];
      if (points.length >= 4) {
        // The way was kept as it was at its beginning: what lies behind the agent is left out.
        let best = Infinity, from = 0, px = points[0], py = points[1];
        for (let i = 0; i + 3 < points.length; i += 2) {
          const dx = points[i + 2] - points[i], dy = points[i + 3] - points[i + 1];
          const along = ((here[0] - points[i]) * dx + (here[1] - points[i + 1]) * dy) / Math.max(dx * dx + dy * dy, 1e-9);
          const u = Math.min(1, Math.max(0, along)), x = points[i] + u * dx, y = points[i + 1] + u * dy;
          const distance = Math.hypot(x - here[0], y - here[1]);
          if (distance < best) [best, from, px, py] = [distance, i + 2, x, y];
        }
        pen.beginPath();
        pen.moveTo(px, py);
        for (let i = from; i < points.length; i += 2) pen.lineTo(points[i], points[i + 1]);
        pen.lineCap = "round";
        pen.globalAlpha = 0.55;
        stroke(colours.route, 1.1, 3);
        pen.globalAlpha = 1;
        pen.lineCap = "butt";
      }
      const track = at("route_leg_track", leg), radius = at("goal_radius", track);
      for (let g = at("route_leg_goal", leg); g < at("track_goals", track); g++) {
        pen.beginPath();
        pen.arc(at("goal_x", track, g), at("goal_y", track, g), Math.max(radius, 6 / view.scale), 0, 7);
        pen.globalAlpha = 0.25;
        pen.fillStyle = colours.route;
        if (g === at("route_leg_goal", leg)) pen.fill();
        pen.globalAlpha = 1;
        stroke(colours.route, 0.3, 1.5);
      }
    }

    function colourOf(agent, track, f) {
      if (at("status", agent, f) === HALTED) return colours.halted;
      if (agent === state.agent) return colours.focus;
      const type = typeName(track);
      if (type === "pedestrian") return colours.walker;
      if (TWO_WHEELERS.includes(type)) return colours.cyclist;
      if (at("track_learner", track)) return colours.learner;
      return at("track_driver", track) > 1 ? colours.other : colours.scripted;
    }

    function box(c, s, x, y, shape) {
      shape.forEach(([a, b], i) => {
        const px = x + a * c - b * s, py = y + a * s + b * c;
        if (i) pen.lineTo(px, py); else pen.moveTo(px, py);
      });
      pen.closePath();
    }

    function drawAgent(agent, f) {
      const here = pose(agent, state.time);
      if (!here) return;
      const [x, y, heading, track] = here;
      const half = 0.5 * at("track_length", track), wide = 0.5 * at("track_width", track);
      if (!visible([x - half - 3, y - half - 3, x + half + 3, y + half + 3])) return;
      const c = Math.cos(heading), s = Math.sin(heading);
      const coarse = 2 * Math.max(half, 1.5) * view.scale < 9;
      pen.fillStyle = colourOf(agent, track, f);
      pen.beginPath();
      if (coarse) {
        const a = (agent === state.agent ? 8 : 5) / view.scale;
        box(c, s, x, y, [[a, 0], [-0.9 * a, 0.75 * a], [-0.5 * a, 0], [-0.9 * a, -0.75 * a]]);
        pen.fill();
        stroke(colours.outline, 0, 0.7);
        return;
      }
      const cut = 0.4 * Math.min(half, wide);
      box(c, s, x, y, [[half, wide - cut], [half - cut, wide], [cut - half, wide], [-half, wide - cut],
        [-half, cut - wide], [cut - half, -wide], [half - cut, -wide], [half, cut - wide]]);
      pen.fill();
      stroke(colours.outline, 0.08, 0.8);
      pen.beginPath();
      if (half < 1.2) box(c, s, x, y, [[0.8 * half, 0], [0.1 * half, 0.6 * wide], [0.1 * half, -0.6 * wide]]);
      else {
        // The windscreen keeps its place behind the front of lorries and cars alike.
        const base = half * (1 - 1.3 * Math.min(1, 1.6 / half)), top = base + 0.45;
        box(c, s, x, y, [[top, 0.8 * wide], [top, -0.8 * wide], [base, -0.66 * wide], [base, 0.66 * wide]]);
      }
      pen.fillStyle = colours.glass;
      pen.fill();
      if (half >= 1.2) {
        pen.beginPath();
        for (const side of [0.75, -0.75]) {
          pen.moveTo(x + 0.93 * half * c - side * wide * s, y + 0.93 * half * s + side * wide * c);
          pen.lineTo(x + 0.93 * half * c - 0.5 * side * wide * s, y + 0.93 * half * s + 0.5 * side * wide * c);
        }
        stroke(colours.headlight, 0.12, 0.8);
      }
      if (at("status", agent, f) === HALTED) {
        pen.beginPath();
        for (const side of [0.6, -0.6]) {
          pen.moveTo(x - 0.6 * half * c - side * wide * s, y - 0.6 * half * s + side * wide * c);
          pen.lineTo(x + 0.6 * half * c + side * wide * s, y + 0.6 * half * s - side * wide * c);
        }
        stroke(colours.cross, 0.25, 1.5);
      }
      if (half >= 1.2 && at("acceleration", agent, f) < -0.5) {
        pen.beginPath();
        for (const side of [0.75, -0.75]) {
          const a = -half + 0.12, b = side * wide;
          box(c, s, x, y, [[a - 0.1, b + 0.25], [a + 0.12, b + 0.25], [a + 0.12, b - 0.25], [a - 0.1, b - 0.25]]);
        }
        pen.fillStyle = colours["brake-light"];
        pen.fill();
      }
    }

    function drawRings() {
      const span = RING_TIME / dt;
      for (const one of incidents) {
        const age = state.time - one.frame;
        if (age < -1e-6 || age > Math.max(span, 1)) continue;
        pen.beginPath();
        pen.arc(one.x, one.y, Math.max(3.5, 9 / view.scale) * (1 + 0.4 * age / span), 0, 7);
        pen.globalAlpha = Math.max(0.15, 1 - age / span);
        stroke(MARKED[one.name], 0.35, 2);
        pen.globalAlpha = 1;
      }
    }

    function drawScale() {
      pen.setTransform(ratio, 0, 0, ratio, 0, 0);
      const room = 110 / view.scale, power = 10 ** Math.floor(Math.log10(room));
      const metres = [5, 2, 1].map((k) => k * power).find((k) => k <= room);
      const length = metres * view.scale, x = width - 18 - length, y = height - 18;
      pen.strokeStyle = colours.ink;
      pen.lineWidth = 2;
      pen.beginPath();
      pen.moveTo(x, y - 5); pen.lineTo(x, y); pen.lineTo(x + length, y); pen.lineTo(x + length, y - 5);
      pen.stroke();
      pen.fillStyle = colours.ink;
      pen.font = "12px system-ui, sans-serif";
      pen.textAlign = "center";
      pen.fillText(`${metres} m`, x + length / 2, y - 6);
    }

    function draw() {
      const f = frame();
      const here = state.follow && state.agent >= 0 ? pose(state.agent, state.time) : null;
      if (here) [view.x, view.y] = here;
      drawGround();
      drawLights(f);
      if (state.agent >= 0) drawRoute(f);
      if (state.observed) drawObserved(f);
      for (let a = 0; a < agents; a++) if (a !== state.agent) drawAgent(a, f);
      if (state.agent >= 0) drawAgent(state.agent, f);
      drawRings();
      drawScale();
    }

    // ---- camera ------------------------------------------------------------------------------

    const film = JSON.parse(byId("film").textContent), picture = byId("picture"), lens = picture.getContext("2d");
    const shot = { asked: -1, turn: 0, painted: 0, frame: -1 };
    if (film) {
      picture.width = film.width;
      picture.height = film.height;
      byId("camera").hidden = byId("camera-switch").hidden = false;
    }

    /** Shows what the camera sees in a frame; pictures that come late do not replace later ones. */
    async function showCamera(f) {
      if (!film || shot.asked === f) return;
      shot.asked = f;
      const turn = ++shot.turn, text = film.frames[f];
      byId("camera-note").textContent = `agent ${film.agent}${text ? "" : ": not in the world"}`;
      let bitmap = null;
      if (text) {
        const bytes = Uint8Array.from(atob(text), (character) => character.charCodeAt(0));
        bitmap = await createImageBitmap(new Blob([bytes], { type: "image/jpeg" }));
      }
      if (turn < shot.painted) return;
      shot.painted = turn;
      shot.frame = f;
      lens.clearRect(0, 0, picture.width, picture.height);
      if (bitmap) lens.drawImage(bitmap, 0, 0);
    }

    function toggleCamera() {
      if (!film) return;
      byId("camera").hidden = !byId("camera").hidden;
      byId("camera-switch").setAttribute("aria-pressed", String(!byId("camera").hidden));
    }

    // ---- observation -------------------------------------------------------------------------

    const observedAt = (agent) => tracks.observed_agent.data.indexOf(agent);
    const groups = [];
    let start = 0;
    for (const [name, slots, columns] of about.observation) {
      groups.push({ name, slots, columns, start });
      start += slots * columns.length;
    }
    const inPlanes = about.observation_version >= 2; // before, one slot lay after the other
    const feature = (row, group, slot, column, f) => at("observation", row, group.start +
      (inPlanes ? column * group.slots + slot : slot * group.columns.length + column), f);
    const columnOf = (group, name) => group.columns.findIndex((column) => column[0] === name);
    const inUse = (row, group, slot, f) => {
      const valid = columnOf(group, "valid");
      return valid < 0 || feature(row, group, slot, valid, f) > 0.5;
    };

    /** Undoes "squash c", v / (c + |v|). */
    function metresOf(group, column, value) {
      const found = /^squash ([\d.]+)$/.exec(group.columns[column][2]);
      return found ? Number(found[1]) * value / Math.max(1e-3, 1 - Math.abs(value)) : value;
    }

    function drawObserved(f) {
      const row = observedAt(state.agent);
      if (row < 0 || at("status", state.agent, f) === ABSENT) return;
      const x0 = at("x", state.agent, f), y0 = at("y", state.agent, f), heading = at("heading", state.agent, f);
      const c = Math.cos(heading), s = Math.sin(heading);
      for (const group of groups) {
        const cx = columnOf(group, "x"), cy = columnOf(group, "y");
        if (cx < 0 || cy < 0) continue;
        pen.beginPath();
        for (let slot = 0; slot < group.slots; slot++) {
          if (!inUse(row, group, slot, f)) continue;
          const a = metresOf(group, cx, feature(row, group, slot, cx, f));
          const b = metresOf(group, cy, feature(row, group, slot, cy, f));
          const x = x0 + a * c - b * s, y = y0 + a * s + b * c;
          const points = group.name.endsWith("points") || group.name === "route";
          const radius = points ? Math.max(0.3, 2 / view.scale) : Math.max(2.6, 7 / view.scale);
          pen.moveTo(x + radius, y);
          pen.arc(x, y, radius, 0, 7);
        }
        const colour = colours[group.name === "boundary_points" ? "observed-edge" : "observed"];
        if (group.name.endsWith("points") || group.name === "route") {
          pen.fillStyle = colour;
          pen.fill();
        } else stroke(colour, 0.25, 1.6);
      }
    }

    const tables = [];
    function buildObservation() {
      const row = state.agent < 0 ? -1 : observedAt(state.agent), holder = byId("observation");
      holder.replaceChildren();
      tables.length = 0;
      const kept = Array.from(tracks.observed_agent.data);
      byId("observed-label").hidden = row < 0;
      byId("observation-note").hidden = row >= 0;
      byId("observation-note").textContent = kept.length
        ? `Not recorded for this agent; recorded for ${kept.join(", ")}.` : "Not recorded.";
      if (row < 0) return;
      for (const group of groups) {
        const details = make("details", undefined, holder), summary = make("summary", `${group.name} `, details);
        const note = make("small", undefined, summary);
        const scroll = make("div", undefined, details), table = make("table", undefined, scroll);
        scroll.className = "scroll";
        const across = group.slots > 1, cells = [];
        if (across) {
          const head = make("tr", undefined, table);
          make("th", "", head).scope = "col";
          for (const [name, meaning, scale] of group.columns) {
            const th = make("th", name, head);
            th.scope = "col";
            th.title = `${meaning}; ${scale}`;
          }
          for (let slot = 0; slot < group.slots; slot++) {
            const line = make("tr", undefined, table);
            make("th", String(slot), line);
            cells.push(group.columns.map(() => make("td", "", line)));
          }
        } else {
          cells.push(group.columns.map(([name, meaning, scale]) => {
            const line = make("tr", undefined, table);
            make("th", name, line).title = `${meaning}; ${scale}`;
            return make("td", "", line);
          }));
        }
        const entry = { group, row, details, note, cells };
        details.addEventListener("toggle", () => fillTable(entry, frame()));
        if (group === groups[0]) details.open = true;
        tables.push(entry);
      }
    }

    function fillTable({ group, row, details, note, cells }, f) {
      let used = 0;
      for (let slot = 0; slot < group.slots; slot++) used += inUse(row, group, slot, f);
      note.textContent = group.slots > 1 ? `${used} of ${group.slots}` : "";
      if (!details.open) return;
      cells.forEach((line, slot) => {
        if (line[0].parentElement && group.slots > 1) line[0].parentElement.className = inUse(row, group, slot, f) ? "" : "unused";
        line.forEach((cell, column) => { cell.textContent = feature(row, group, slot, column, f).toFixed(4); });
      });
    }

    // ---- panel -------------------------------------------------------------------------------

    const digits = (v) => (v === 0 ? "0" : Math.abs(v) < 1e-3 ? v.toExponential(1) : v.toFixed(4));
    const rewardRows = [];
    function buildReward() {
      const body = byId("reward").tBodies[0];
      for (const name of [...about.terms, "total"]) {
        const line = make("tr", undefined, body);
        make("th", name, line);
        const now = make("td", "", line), bar = make("td", undefined, line), sum = make("td", "", line);
        bar.className = "bar";
        if (name === "total" && rewardRows.length === about.terms.length) line.className = "total";
        rewardRows.push({ line, now, sum, bar: make("i", undefined, bar) });
      }
    }

    function fillReward(f) {
      const a = state.agent, track = at("track", a, f);
      // The reward in the frame of a placing belongs to the track before.
      let first = f + 1;
      for (let g = f; g > 0 && track >= 0; g--) {
        const there = at("track", a, g);
        if (there < 0) break;
        if (at("track_placed", there) && at("track_frame", there) === g) break;
        first = g;
      }
      const now = [], sums = [];
      about.terms.forEach((_, term) => {
        now.push(at("reward", term, a, f));
        let sum = 0;
        for (let g = first; g <= f; g++) sum += at("reward", term, a, g);
        sums.push(sum);
      });
      const largest = Math.max(1e-9, ...sums.map(Math.abs));
      now.push(now.reduce((p, q) => p + q, 0));
      sums.push(sums.reduce((p, q) => p + q, 0));
      rewardRows.forEach(({ line, now: cell, sum, bar }, i) => {
        cell.textContent = digits(now[i]);
        sum.textContent = digits(sums[i]);
        const share = 50 * Math.min(1, Math.abs(sums[i]) / largest);
        bar.style.width = `${share}%`;
        bar.style.marginLeft = sums[i] < 0 ? `${50 - share}%` : "50%";
        bar.className = sums[i] < 0 ? "minus" : "";
        if (i < about.terms.length) line.className = sums[i] === 0 && now[i] === 0 ? "still" : "";
      });
    }

    const facts = {};
    function buildFacts() {
      for (const name of ["acceleration", "steering", "to the goal", "goals", "body", "position", "heading"]) {
        make("dt", name, byId("facts"));
        facts[name] = make("dd", "", byId("facts"));
        facts[name].dataset.fact = name;
      }
    }

    function fillFacts(f) {
      const a = state.agent, track = at("track", a, f), leg = at("route_leg", a, f);
      const chips = [];
      if (track < 0) chips.push("not in the world");
      else {
        chips.push(typeName(track), at("track_learner", track) ? "learner" : about.drivers[at("track_driver", track)]);
        if (at("status", a, f) === HALTED) chips.push("!halted");
      }
      const ended = at("ended", a, f);
      if (ended & 1) chips.push("!terminated");
      if (ended & 2) chips.push("!truncated");
      about.events.forEach((name, bit) => { if (at("event", a, f) >> bit & 1) chips.push(`!${name}`); });
      byId("chips").replaceChildren(...chips.map((text) => {
        const chip = make("span", text.replace(/^!/, ""));
        if (text.startsWith("!")) chip.className = "bad";
        return chip;
      }));
      const speed = at("speed", a, f), distance = at("goal_distance", a, f);
      byId("speed").textContent = track < 0 ? "–" : speed.toFixed(2);
      byId("kmh").textContent = track < 0 ? "" : `· ${(3.6 * speed).toFixed(0)} km/h`;
      const values = track < 0 ? [] : [
        `${at("acceleration", a, f).toFixed(2)} m/s²`,
        `${(at("steering", a, f) * 180 / Math.PI).toFixed(1)}°`,
        leg < 0 ? "–" : distance > 99999 ? "no way" : `${distance.toFixed(1)} m`,
        leg < 0 ? "–" : `${at("route_leg_goal", leg)} of ${at("track_goals", track)} reached`,
        `${at("track_length", track).toFixed(2)} × ${at("track_width", track).toFixed(2)} m`,
        `${at("x", a, f).toFixed(2)}, ${at("y", a, f).toFixed(2)} m`,
        `${(at("heading", a, f) * 180 / Math.PI).toFixed(1)}°`,
      ];
      Object.values(facts).forEach((cell, i) => { cell.textContent = values[i] ?? "–"; });
    }

    function drawSpark(f) {
      const spark = byId("spark"), w = spark.clientWidth, h = spark.clientHeight;
      if (!w) return;
      spark.width = w * ratio;
      spark.height = h * ratio;
      const brush = spark.getContext("2d");
      brush.scale(ratio, ratio);
      let low = 0, high = 1;
      for (let g = 0; g < frames; g++) {
        low = Math.min(low, at("speed", state.agent, g));
        high = Math.max(high, at("speed", state.agent, g));
      }
      const px = (g) => 1 + (w - 2) * g / Math.max(1, last);
      const py = (v) => h - 3 - (h - 6) * (v - low) / (high - low);
      brush.strokeStyle = colours.rule;
      brush.beginPath();
      brush.moveTo(0, py(0)); brush.lineTo(w, py(0));
      brush.stroke();
      brush.strokeStyle = colours.accent;
      brush.lineWidth = 1.5;
      brush.beginPath();
      for (let g = 0, down = false; g < frames; g++) {
        const track = at("track", state.agent, g);
        if (track < 0) { down = false; continue; }
        const jump = at("track_frame", track) === g && at("track_placed", track);
        if (down && !jump) brush.lineTo(px(g), py(at("speed", state.agent, g)));
        else brush.moveTo(px(g), py(at("speed", state.agent, g)));
        down = true;
      }
      brush.stroke();
      brush.strokeStyle = colours.ink;
      brush.lineWidth = 1;
      brush.beginPath();
      brush.moveTo(px(f), 0); brush.lineTo(px(f), h);
      brush.stroke();
    }

    const seconds = (f) => (f * dt).toFixed(dt < 0.1 ? 2 : 1);
    let shown = { frame: -1, agent: -2, when: 0 };
    function fillPanel(now, force) {
      const f = frame();
      if (!force && shown.frame === f && shown.agent === state.agent) return;
      if (!force && state.playing && shown.agent === state.agent && now - shown.when < PANEL_PAUSE) return;
      byId("details").hidden = state.agent < 0;
      if (shown.agent !== state.agent) buildObservation();
      shown = { frame: f, agent: state.agent, when: now };
      byId("clock").textContent = `${seconds(f)} / ${seconds(last)} s`;
      byId("time").setAttribute("aria-valuetext", `${seconds(f)} s`);
      if (state.agent < 0) return;
      fillFacts(f);
      fillReward(f);
      drawSpark(f);
      tables.forEach((entry) => fillTable(entry, f));
    }

    function drawMarks() {
      const marks = byId("marks"), w = marks.clientWidth, h = marks.clientHeight;
      marks.width = w * ratio;
      marks.height = h * ratio;
      const brush = marks.getContext("2d");
      brush.scale(ratio, ratio);
      for (const one of incidents) {
        brush.fillStyle = MARKED[one.name];
        brush.fillRect(w * one.frame / Math.max(1, last) - 1, 0, 2, h - 2);
      }
    }

    function buildIncidents() {
      byId("incident-count").textContent = incidents.length ? String(incidents.length) : "none";
      for (const one of incidents.slice(0, 500)) {
        const button = make("button", undefined, make("li", undefined, byId("incidents")));
        button.type = "button";
        make("i", undefined, button).style.background = MARKED[one.name];
        make("span", `${seconds(one.frame)} s`, button);
        make("span", `agent ${one.agent}, ${MARK_NAMES[one.name]}`, button);
        button.addEventListener("click", () => {
          select(one.agent);
          state.follow = false;
          [view.x, view.y] = [one.x, one.y];
          play(false);
          seek(one.frame);
          update();
        });
      }
    }

    function buildAbout() {
      const title = about.title || about.map;
      document.title = title ? `${title} – replay` : "Replay";
      byId("title").textContent = title;
      byId("subtitle").textContent = `${about.title ? `${about.map} · ` : ""}world ${about.world} · seed ${about.seed} · `
        + `${agents} agents · ${seconds(last)} s`;
      const rows = { map: about.map, seed: about.seed, world: about.world, "step": `${+dt.toFixed(4)} s`,
        frames, agents, "begins at": `${about.start.toFixed(1)} s`, selfdrive_env: about.package };
      for (const [name, value] of Object.entries(rows)) {
        make("dt", name, byId("about-facts"));
        make("dd", String(value), byId("about-facts"));
      }
      byId("settings").textContent = JSON.stringify(about.settings, null, 1);
      const chooser = byId("agent");
      make("option", "none", chooser).value = "-1";
      for (let a = 0; a < agents; a++) {
        let track = -1;
        for (let f = 0; f < frames && track < 0; f++) track = at("track", a, f);
        const kept = observedAt(a) >= 0 ? " · observation" : "";
        make("option", track < 0 ? `${a} · absent` : `${a} · ${typeName(track)}${kept}`, chooser).value = String(a);
      }
    }

    // ---- control -----------------------------------------------------------------------------

    function select(agent) {
      state.agent = agent;
      if (agent < 0) state.follow = false;
      byId("agent").value = String(agent);
      state.dirty = true;
    }

    function seek(f) {
      state.time = Math.min(last, Math.max(0, f));
      byId("time").value = String(frame());
      state.dirty = true;
    }

    function play(on) {
      if (on && state.time >= last) seek(0);
      state.playing = on && last > 0;
      byId("play").textContent = state.playing ? "❚❚" : "▶";
      byId("play").setAttribute("aria-label", state.playing ? "Pause" : "Play");
      if (!state.playing) seek(frame());
    }

    function update() {
      byId("follow").setAttribute("aria-pressed", String(state.follow));
      byId("follow").disabled = state.agent < 0;
      byId("observed").checked = state.observed;
      state.dirty = true;
    }

    function zoom(factor, px = width / 2, py = height / 2) {
      const scale = Math.min(80, Math.max(0.02, view.scale * factor));
      if (!state.follow) {
        view.x += (px - width / 2) * (1 / view.scale - 1 / scale);
        view.y -= (py - height / 2) * (1 / view.scale - 1 / scale);
      }
      view.scale = scale;
      state.dirty = true;
    }

    function fit() {
      const all = [Infinity, Infinity, -Infinity, -Infinity];
      for (const { box: b } of outlines) {
        all[0] = Math.min(all[0], b[0]); all[1] = Math.min(all[1], b[1]);
        all[2] = Math.max(all[2], b[2]); all[3] = Math.max(all[3], b[3]);
      }
      state.follow = false;
      if (all[0] <= all[2]) {
        [view.x, view.y] = [(all[0] + all[2]) / 2, (all[1] + all[3]) / 2];
        // Title and legend lie over the map: it goes between them where there is room.
        const margin = height > 400 ? 120 : 20;
        view.scale = Math.min((width - 30) / (all[2] - all[0] + 1), (height - margin) / (all[3] - all[1] + 1));
        view.y += 10 / view.scale;
      }
      update();
    }

    const screen = (x, y) => [width / 2 + (x - view.x) * view.scale, height / 2 - (y - view.y) * view.scale];

    /** The agent under a place of the canvas, -1 for none. */
    function pick(px, py) {
      let best = Infinity, found = -1;
      for (let a = 0; a < agents; a++) {
        const here = pose(a, state.time);
        if (!here) continue;
        const [sx, sy] = screen(here[0], here[1]);
        const reach = Math.max(10, 0.5 * at("track_length", here[3]) * view.scale + 3);
        const distance = Math.hypot(px - sx, py - sy);
        if (distance < reach && distance < best) [best, found] = [distance, a];
      }
      return found;
    }

    const pointers = new Map();
    let moved = 0;
    const place = (event) => {
      const box = canvas.getBoundingClientRect();
      return [event.clientX - box.left, event.clientY - box.top];
    };
    canvas.addEventListener("pointerdown", (event) => {
      canvas.setPointerCapture(event.pointerId);
      pointers.set(event.pointerId, place(event));
      moved = 0;
    });
    canvas.addEventListener("pointermove", (event) => {
      const now = place(event), before = pointers.get(event.pointerId);
      if (!before) {
        canvas.classList.toggle("pointing", pick(...now) >= 0);
        return;
      }
      if (pointers.size === 2) {
        const other = [...pointers.entries()].find(([id]) => id !== event.pointerId)[1];
        const apart = (p) => Math.max(1, Math.hypot(p[0] - other[0], p[1] - other[1]));
        zoom(apart(now) / apart(before), ...other);
        moved = 99;
      } else {
        moved += Math.hypot(now[0] - before[0], now[1] - before[1]);
        if (moved > 4) {
          canvas.classList.add("dragging");
          state.follow = false;
          view.x -= (now[0] - before[0]) / view.scale;
          view.y += (now[1] - before[1]) / view.scale;
          update();
        }
      }
      pointers.set(event.pointerId, now);
    });
    const release = (event) => {
      if (event.type === "pointerup" && pointers.size === 1 && moved <= 4) {
        const found = pick(...place(event));
        if (found >= 0) select(found);
        update();
      }
      pointers.delete(event.pointerId);
      canvas.classList.remove("dragging");
    };
    canvas.addEventListener("pointerup", release);
    canvas.addEventListener("pointercancel", release);
    canvas.addEventListener("wheel", (event) => {
      event.preventDefault();
      zoom(Math.exp(-0.0015 * event.deltaY * (event.deltaMode ? 30 : 1)), ...place(event));
    }, { passive: false });

    const toggleFollow = () => {
      state.follow = !state.follow && state.agent >= 0;
      update();
    };
    const toggleObserved = () => { state.observed = !state.observed; update(); };
    byId("play").addEventListener("click", () => play(!state.playing));
    byId("time").addEventListener("input", (event) => seek(Number(event.target.value)));
    byId("rate").addEventListener("change", (event) => { state.rate = Number(event.target.value); });
    byId("agent").addEventListener("change", (event) => { select(Number(event.target.value)); update(); });
    byId("follow").addEventListener("click", toggleFollow);
    byId("observed").addEventListener("change", toggleObserved);
    byId("fit").addEventListener("click", fit);
    byId("camera-switch").addEventListener("click", toggleCamera);
    byId("zoom-in").addEventListener("click", () => zoom(1.4));
    byId("zoom-out").addEventListener("click", () => zoom(1 / 1.4));
    byId("theme").addEventListener("click", () => {
      document.documentElement.classList.toggle("dark");
      readColours();
      fillPanel(0, true);
    });
    document.addEventListener("keydown", (event) => {
      if (event.ctrlKey || event.metaKey || event.altKey || event.target.tagName === "SELECT") return;
      const slider = event.target.type === "range", jump = event.shiftKey ? Math.max(1, Math.round(1 / dt)) : 1;
      const keys = {
        " ": () => play(!state.playing),
        ArrowLeft: () => seek(frame() - jump), ArrowRight: () => seek(frame() + jump),
        Home: () => seek(0), End: () => seek(last),
        "+": () => zoom(1.4), "=": () => zoom(1.4), "-": () => zoom(1 / 1.4), 0: fit,
        f: toggleFollow, o: toggleObserved, c: toggleCamera, Escape: () => { select(-1); update(); },
      };
      const action = keys[event.key] || keys[event.key.toLowerCase()];
      if (!action || (slider && event.key !== " " && event.key.length > 1)) return;
      if (event.key === " " && event.target.tagName === "BUTTON") return;
      event.preventDefault();
      action();
    });

    function resize() {
      ratio = Math.min(2, window.devicePixelRatio || 1);
      width = Math.max(1, canvas.clientWidth);
      height = Math.max(1, canvas.clientHeight);
      canvas.width = Math.round(width * ratio);
      canvas.height = Math.round(height * ratio);
      drawMarks();
      state.dirty = true;
    }
    new ResizeObserver(resize).observe(canvas);

    let before = 0, drawn = 0;
    function tick(now) {
      if (state.playing) {
        state.time = Math.min(last, state.time + Math.min(0.25, (now - before) / 1000) * state.rate / dt);
        byId("time").value = String(frame());
        state.dirty = true;
        if (state.time >= last) play(false);
      }
      before = now;
      if (state.dirty) {
        state.dirty = false;
        draw();
        drawn += 1;
      }
      showCamera(frame());
      fillPanel(now, false);
      requestAnimationFrame(tick);
    }

    const dark = matchMedia("(prefers-color-scheme: dark)");
    document.documentElement.classList.toggle("dark", dark.matches);
    byId("time").max = String(last);
    buildAbout();
    buildReward();
    buildFacts();
    buildIncidents();
    readColours();
    resize();
    fit();
    select(about.focus);
    const here = pose(about.focus, 0);
    if (here) {
      state.follow = true;
      view.scale = Math.min(width, height) / 110;
    }
    update();
    requestAnimationFrame(tick);
    // What scripts may use: the tests of the page, and whoever wants to steer it.
    window.replay = {
      about, frames, agents, seek: (f) => { seek(f); }, play, fit, zoom,
      draw, drawn: () => drawn, pictured: () => shot.frame,
      state: () => ({ ...state, frame: frame(), view: { ...view } }),
      screen: (agent) => {
        const found = pose(agent, state.time), edge = canvas.getBoundingClientRect();
        if (!found) return null;
        const [x, y] = screen(found[0], found[1]);
        return [x + edge.left, y + edge.top];
      },
    };
  }

  read().then(open).catch((error) => {
    byId("message").hidden = false;
    byId("message").textContent = `This replay cannot be shown: ${error.message}`;
    console.error(error);
  });
})();
