import { OPERATIONS } from "../scripts/support/check.js";
import { SIDE } from "../scripts/support/digits.js";
import { runOnDevice, type Operation } from "../scripts/support/experiment.js";
import { byteText, grouped, shapeText } from "../scripts/support/format.js";
import { COPY_COMMAND, COPY_KERNEL, createPrograms, measure } from "../scripts/support/timing.js";
import { findDevice, type Found } from "./adapter.js";
import { askCpu } from "./cpu.js";
import { byId, escape } from "./html.js";
import { makeInputs } from "./inputs.js";
import { showHistograms, showTimes, showVerdicts, type Shown } from "./results.js";
import {
  objection,
  parseShape,
  PRESETS,
  readSettings,
  shapeInMemory,
  writeSettings,
  type Preset,
  type Settings,
} from "./settings.js";

const CUSTOM = "custom";
const form = byId<HTMLFormElement>("controls");
const preset = byId<HTMLSelectElement>("preset");
const shape = byId<HTMLInputElement>("shape");
const note = byId("shape-note");
const go = byId<HTMLButtonElement>("go");
const progress = byId<HTMLProgressElement>("progress");
const status = byId("status");
const channel = byId<HTMLInputElement>("channel");
const channelRange = byId<HTMLInputElement>("channel-range");

let settings = readSettings(location.search);
let found: Found | null = null;
let running: AbortController | null = null;
let shown: Shown | null = null;

const keyOf = ({ data, shape: sizes }: Pick<Preset, "data" | "shape">): string =>
  `${data}:${sizes.join()}`;

// ---------------------------------------------------------------------------------------------------------------
// Controls

function fillPresets(): void {
  const group = (label: string, data: Preset["data"]): string =>
    `<optgroup label="${label}">` +
    PRESETS.filter((each) => each.data === data)
      .map((each) => {
        const bytes = 4 * each.shape.reduce((a, b) => a * b, 1);
        const text = `${shapeText(each.shape)} ${each.what}, ${byteText(bytes)}`;
        return `<option value="${keyOf(each)}">${escape(text)}</option>`;
      })
      .join("") +
    "</optgroup>";
  preset.innerHTML =
    group("Random numbers", "random") +
    group("MNIST digits", "digits") +
    `<option value="${CUSTOM}">random numbers, a shape of your own</option>`;
}

function showControls(): void {
  const known = PRESETS.find((each) => keyOf(each) === keyOf(settings));
  preset.value = known ? keyOf(known) : CUSTOM;
  shape.value = settings.shape.join(", ");
  for (const name of ["layout", "run"] as const) {
    const field = form.elements.namedItem(name) as RadioNodeList;
    field.value = settings[name];
  }
  describeShape();
}

function describeShape(): boolean {
  const wrong = objection(settings);
  note.classList.toggle("wrong", wrong !== null);
  shape.setAttribute("aria-invalid", String(wrong !== null));
  const size = settings.shape.reduce((a, b) => a * b, 1);
  note.textContent =
    wrong ??
    `In memory ${shapeText(shapeInMemory(settings))}: ${grouped(size)} values, ${byteText(4 * size)}.`;
  if (!running) go.disabled = wrong !== null || found === null;
  return wrong === null;
}

function change(changed: Partial<Settings>): void {
  settings = { ...settings, ...changed };
  if (describeShape())
    history.replaceState(
      null,
      "",
      `${location.pathname}${writeSettings(settings)}${location.hash}`,
    );
}

preset.addEventListener("change", () => {
  const chosen = PRESETS.find((each) => keyOf(each) === preset.value);
  if (chosen) change({ data: chosen.data, shape: chosen.shape });
  else change({ data: "random" });
  shape.value = settings.shape.join(", ");
  if (!chosen) shape.focus();
});
shape.addEventListener("input", () => {
  const sizes = parseShape(shape.value);
  const known = PRESETS.find((each) => each.shape.join() === sizes.join());
  change({ data: known?.data ?? "random", shape: sizes });
  preset.value = known ? keyOf(known) : CUSTOM;
});
form.addEventListener("change", ({ target }) => {
  if (!(target instanceof HTMLInputElement) || target.type !== "radio") return;
  if (target.name === "layout") change({ layout: target.value as Settings["layout"] });
  if (target.name === "run") change({ run: target.value as Operation });
});
form.addEventListener("submit", (event) => {
  event.preventDefault();
  if (running) running.abort(new DOMException("Cancelled.", "AbortError"));
  else if (describeShape()) void run();
});

function showChannel(wanted: number): void {
  const channels = shown ? shown.inputs.gamma.length : settings.shape[1]!;
  const index = Math.min(channels - 1, Math.max(0, Math.floor(wanted) || 0));
  for (const input of [channel, channelRange]) {
    input.max = String(channels - 1);
    input.value = String(index);
  }
  const pixel =
    channels === SIDE * SIDE ? `, row ${Math.floor(index / SIDE)}, column ${index % SIDE}` : "";
  byId("channel-note").textContent = `of ${grouped(channels)}${pixel}`;
  showHistograms(shown, index);
  settings = { ...settings, channel: index };
}
for (const input of [channel, channelRange]) {
  input.addEventListener("input", () => {
    showChannel(Number(input.value));
  });
  input.addEventListener("change", () => {
    change({});
  });
}

// ---------------------------------------------------------------------------------------------------------------
// A run

/** Steps of a run with their shares of the bar. */
const STEPS = {
  data: ["Preparing the data", 0, 0.15],
  gpu: ["Running on the GPU", 0.15, 0.3],
  cpu: ["Checking on the CPU", 0.3, 0.6],
  times: ["Timing, in turns", 0.6, 1],
} as const;

async function step(name: keyof typeof STEPS): Promise<(share: number) => void> {
  const [text, from, to] = STEPS[name];
  status.textContent = `${text} …`;
  progress.value = from;
  // Lets the page show it.
  await new Promise((resolve) => setTimeout(resolve, 20));
  return (share) => {
    progress.value = from + share * (to - from);
  };
}

async function run(): Promise<void> {
  const controller = new AbortController();
  const { signal } = controller;
  const { run: operation, data } = settings;
  running = controller;
  go.textContent = "Cancel";
  form.classList.add("busy");
  document.documentElement.dataset["state"] = "running";
  const start = performance.now();
  let outcome = "";
  try {
    const inputs = await makeInputs(settings, signal, await step("data"));
    const wanted = [operation !== "inference", operation === "inference", operation === "backward"];
    if (found?.device) {
      await step("gpu");
      const { device } = found;
      const outputs = await runOnDevice(device, inputs, [operation]);
      const y = (outputs.training ?? outputs.inference)!.y;
      signal.throwIfAborted();
      shown = { inputs, y, unit: unitOf(data) };
      showChannel(settings.channel);
      const answer = await askCpu({ inputs, outputs, wanted }, signal, await step("cpu"));
      showVerdicts(answer.verdicts);
      const onProgress = await step("times");
      const { programs, destroy } = await createPrograms(device, inputs);
      try {
        const names: string[] = [
          COPY_KERNEL,
          COPY_COMMAND,
          ...OPERATIONS.filter((_, i) => wanted[i]),
        ];
        const timed = programs.filter(({ name }) => names.includes(name));
        // A browser sees completion in steps of about 2 ms, so each sample is long.
        showTimes(
          await measure(timed, { rounds: 7, sampleMs: 30, onProgress, signal }),
          answer.times,
        );
      } finally {
        destroy();
      }
      const failed = answer.verdicts.filter(({ pass }) => !pass).length;
      const passed = answer.verdicts.length === 1 ? "The check passed" : "All checks passed";
      outcome = failed === 0 ? passed : `${failed} of ${answer.verdicts.length} checks FAILED`;
    } else {
      const answer = await askCpu({ inputs, outputs: null, wanted }, signal, await step("cpu"));
      shown = { inputs, y: answer.y!, unit: unitOf(data) };
      showChannel(settings.channel);
      showVerdicts([], false);
      showTimes([], answer.times);
      outcome = "Run by the CPU reference";
    }
    status.textContent = `${outcome}, ${((performance.now() - start) / 1000).toFixed(1)} s.`;
    progress.value = 1;
    document.documentElement.dataset["state"] = "done";
  } catch (error) {
    const reason = (signal.aborted ? signal.reason : error) as Error;
    const cancelled = reason.name === "AbortError";
    status.textContent = reason.message;
    progress.value = 0;
    if (!cancelled) console.error(reason);
    document.documentElement.dataset["state"] = cancelled ? "cancelled" : "failed";
  } finally {
    running = null;
    go.textContent = "Run";
    form.classList.remove("busy");
    describeShape();
  }
}

const unitOf = (data: Settings["data"]): string =>
  data === "digits" ? "x, grey level (0 to 255)" : "x";

// ---------------------------------------------------------------------------------------------------------------
// The device

function showFound(): void {
  if (!found) return;
  const notice = byId("notice");
  if (found.device) {
    byId("adapter").textContent = `Adapter: ${found.name}`;
    notice.hidden = true;
    return;
  }
  byId("adapter").textContent = "Adapter: none. The CPU reference runs instead.";
  notice.innerHTML =
    `<strong>${escape(found.reason)}</strong> ${escape(found.remedy)} ` +
    "Meanwhile the float64 reference runs on the CPU: the histograms and its times are real.";
  notice.hidden = false;
}

async function openDevice(): Promise<void> {
  found = await findDevice();
  showFound();
  const { device } = found;
  if (!device) return;
  device.addEventListener("uncapturederror", (event) => {
    const error = new Error(`The GPU reported: ${event.error.message}`);
    if (running) running.abort(error);
    else status.textContent = error.message;
  });
  void device.lost.then(({ message }) => {
    running?.abort(new Error("The GPU was lost."));
    const remedy = "Reload the page to open it anew.";
    found = { device: null, reason: `The GPU was lost. ${message}`, remedy };
    showFound();
  });
}

fillPresets();
showControls();
showVerdicts([]);
showTimes([], []);
showChannel(settings.channel);
document.documentElement.classList.add("ready");
await openDevice();
describeShape();
if (objection(settings) === null) await run();
