"use strict";
(async () => {
  const $ = (id) => document.getElementById(id);
  const live = $("surface"), canvas = $("turned"), over = $("over");
  const held = JSON.parse($("held").textContent);
  const bytes = (text) => Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));

  async function unzipped(text, Kind) {
    const stream = new Blob([bytes(text)]).stream().pipeThrough(new DecompressionStream("gzip"));
    return new Kind(await new Response(stream).arrayBuffer());
  }

  let renderer;
  try {
    renderer = new THREE.WebGLRenderer({ canvas, antialias: true, alpha: true });
  } catch {
    return; // The still pictures stay.
  }

  const packed = await unzipped(held.points, Uint16Array);
  const points = Float32Array.from(packed, (step, place) => step / 65535 - held.middle[place % 3]);
  const shape = new THREE.BufferGeometry();
  shape.setAttribute("position", new THREE.BufferAttribute(points, 3));
  shape.setIndex(new THREE.BufferAttribute(await unzipped(held.triangles, Uint32Array), 1));
  shape.computeVertexNormals();
  shape.setAttribute("color", new THREE.BufferAttribute(new Float32Array(points.length), 3));
  const values = await Promise.all(held.colours.map((each) => unzipped(each.values, Uint16Array)));
  const table = bytes(held.table);

  const scene = new THREE.Scene();
  scene.add(new THREE.Mesh(shape, new THREE.MeshLambertMaterial({ vertexColors: true })));
  scene.add(new THREE.AmbientLight(0xffffff, 1.1));
  const camera = new THREE.OrthographicCamera(-1, 1, 1, -1, 0.1, 20);
  const lamp = new THREE.DirectionalLight(0xffffff, 2.4);
  camera.add(lamp, lamp.target);
  lamp.position.set(-0.5, 0.7, 1);
  lamp.target.position.set(0, 0, -1);
  scene.add(camera);
  const controls = new THREE.OrbitControls(camera, canvas);
  controls.addEventListener("change", draw);

  // Where each view looks from, (x, y, z).
  const VIEWS = { tilted: [0.55, 0.45, 0.75], beam: [0, 0, 1], top: [0, 1, 0], side: [-1, 0, 0] };

  function look(name) {
    const [x, y, z] = VIEWS[name], far = 5 / Math.hypot(x, y, z);
    camera.zoom = 1;
    camera.position.set(x * far, y * far, z * far);
    // A little down the beam, so that from above what is further along it stands lower.
    if (name === "top") camera.position.z += 1e-3;
    controls.target.set(0, 0, 0);
    camera.updateProjectionMatrix();
    controls.update();
    draw();
  }

  const linear = (part) => (part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4);

  function colour() {
    const colours = shape.getAttribute("color"), chosen = values[$("colour").value];
    for (let point = 0; point < colours.count; point++) {
      const place = 3 * Math.min(Math.floor((chosen[point] / 65535) * 256), 255);
      colours.setXYZ(point, linear(table[place] / 255), linear(table[place + 1] / 255), linear(table[place + 2] / 255));
    }
    colours.needsUpdate = true;
    draw();
  }

  function length(metres) {
    const units = [[1e-6, "µm"], [1e-9, "nm"], [1e-10, "Å"]];
    const [size, unit] = units.find(([each]) => metres >= 0.9995 * each) || units[2];
    return Number((metres / size).toPrecision(3)) + " " + unit;
  }

  function arrow(context, from, way, name, colour) {
    const [x, y] = [from[0] + way[0], from[1] - way[1]], size = Math.hypot(...way);
    context.strokeStyle = context.fillStyle = colour;
    context.beginPath();
    context.moveTo(...from);
    context.lineTo(x, y);
    if (size > 6) {
      const [u, v] = [way[0] / size, -way[1] / size];
      context.moveTo(x - 5 * u + 3 * v, y - 5 * v - 3 * u);
      context.lineTo(x, y);
      context.lineTo(x - 5 * u - 3 * v, y - 5 * v + 3 * u);
    }
    context.stroke();
    context.fillText(name, from[0] + 1.3 * way[0], from[1] - 1.3 * way[1] + 4);
  }

  function told(width, height) {
    const context = over.getContext("2d"), dots = window.devicePixelRatio || 1;
    over.width = width * dots;
    over.height = height * dots;
    context.scale(dots, dots);
    const ink = getComputedStyle(live).color;
    context.font = "12px system-ui, sans-serif";
    context.textAlign = "center";
    context.lineWidth = 1.4;
    const way = (x, y, z) => new THREE.Vector3(x, y, z).transformDirection(camera.matrixWorldInverse);
    for (const [name, axis, colour] of [["x", [1, 0, 0], ink], ["y", [0, 1, 0], ink], ["z", [0, 0, 1], ink], ["Q", held.q, "#d9730d"]]) {
      const seen = way(...axis);
      arrow(context, [48, 52], [30 * seen.x, 30 * seen.y], name, colour);
    }
    // Metres per CSS pixel: the camera sees `across` sizes over the width.
    const across = ((camera.right - camera.left) / camera.zoom) * held.size_m / width;
    const most = 0.25 * width * across, decade = 10 ** Math.floor(Math.log10(most));
    const metres = Math.max(...[1, 2, 5].map((step) => step * decade).filter((step) => step <= most));
    context.fillStyle = ink;
    context.fillRect(14, height - 16, metres / across, 3);
    context.textAlign = "left";
    context.fillText(length(metres), 14, height - 22);
    const chosen = held.colours[$("colour").value], tall = Math.min(180, height - 60), top = (height - tall) / 2;
    for (let row = 0; row < tall; row++) {
      const place = 3 * Math.floor(255.99 * (1 - row / tall));
      context.fillStyle = `rgb(${table[place]} ${table[place + 1]} ${table[place + 2]})`;
      context.fillRect(width - 64, top + row, 12, 1.5);
    }
    context.fillStyle = ink;
    for (const [share, y] of [[1, top + 8], [0.5, top + 4], [0, top + 2], [-0.5, top + 2], [-1, top]]) {
      context.fillText(String(Number((share * chosen.most).toPrecision(2))), width - 48, y + ((1 - share) / 2) * tall);
    }
    context.textAlign = "right";
    context.fillText(chosen.unit, width - 8, top - 8);
  }

  function draw() {
    const box = canvas.parentElement.getBoundingClientRect();
    if (!box.width) return;
    renderer.setPixelRatio(window.devicePixelRatio || 1);
    renderer.setSize(box.width, box.height, false);
    // Room for the colours beside the crystal.
    const reach = held.reach * Math.max(1, Math.min(box.width / (box.width - 140), 2)), long = Math.max(box.width / box.height, 1), tall = Math.max(box.height / box.width, 1);
    const fit = [reach * long, reach * tall];
    [camera.left, camera.right, camera.bottom, camera.top] = [-fit[0], fit[0], -fit[1], fit[1]];
    camera.updateProjectionMatrix();
    camera.updateMatrixWorld();
    renderer.render(scene, camera);
    told(box.width, box.height);
  }

  held.colours.forEach((each, index) => $("colour").add(new Option(each.name, index)));
  $("colour").addEventListener("change", colour);
  for (const name of Object.keys(VIEWS)) $(name).addEventListener("click", () => look(name));
  canvas.addEventListener("keydown", (event) => {
    const turn = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] }[event.key];
    if (turn) {
      const from = camera.position.clone().normalize();
      const round = Math.atan2(from.x, from.z) + 0.1 * turn[0];
      const high = Math.min(Math.max(Math.asin(from.y) + 0.1 * turn[1], -1.55), 1.55);
      camera.position.set(Math.sin(round) * Math.cos(high), Math.sin(high), Math.cos(round) * Math.cos(high)).multiplyScalar(5);
      controls.update();
    } else if (event.key === "+" || event.key === "=" || event.key === "-") {
      camera.zoom *= event.key === "-" ? 0.8 : 1.25;
      camera.updateProjectionMatrix();
    } else return;
    event.preventDefault();
    draw();
  });
  live.hidden = false;
  document.body.classList.add("turning");
  look("tilted");
  colour();
  new ResizeObserver(draw).observe(canvas.parentElement);
  window.matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
})();
