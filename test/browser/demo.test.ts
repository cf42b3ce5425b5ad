import { expect, test, vi } from "vitest";
import page from "../../demo/index.html?raw";
import "../../demo/style.css";

const text = (selector: string): string => document.querySelector(selector)?.textContent ?? "";
const rows = (): string[] =>
  Array.from(document.querySelectorAll("#check tbody tr"), (row) => row.textContent ?? "");
const state = (): string | undefined => document.documentElement.dataset["state"];

test("the demo runs by itself, passes its checks, and runs again on a shape that was typed in", async () => {
  const parsed = new DOMParser().parseFromString(page, "text/html");
  parsed.querySelectorAll("script").forEach((script) => {
    script.remove();
  });
  document.body.innerHTML = parsed.body.innerHTML;

  await import("../../demo/main.js");
  expect(text("#status")).toMatch(/^All checks passed/);
  expect(rows().filter((row) => row.endsWith("pass"))).toHaveLength(6);
  expect(text("#times")).toMatch(/training forward.*× the copy/);
  expect(text("#histograms")).toMatch(/Before.*mean.*After.*gamma/s);
  expect(document.querySelectorAll("svg .bar").length).toBeGreaterThan(20);

  const shape = document.querySelector<HTMLInputElement>("#shape")!;
  const submit = (): void => {
    document.querySelector<HTMLFormElement>("#controls")!.requestSubmit();
  };
  shape.value = "5, 3, 7";
  shape.dispatchEvent(new Event("input"));
  document.querySelector<HTMLInputElement>('input[value="inference"]')!.click();
  submit();
  expect(state()).toBe("running");
  await vi.waitFor(() => {
    expect(state()).toBe("done");
  }, 30_000);
  expect(text("#status")).toMatch(/^The check passed/);
  expect(text("#channel-note")).toBe("of 3");

  shape.value = "5, x";
  shape.dispatchEvent(new Event("input"));
  expect(text("#shape-note")).toMatch(/Whole numbers/);
  expect(document.querySelector<HTMLButtonElement>("#go")!.disabled).toBe(true);

  shape.value = "64, 8, 16, 16";
  shape.dispatchEvent(new Event("input"));
  submit();
  submit();
  await vi.waitFor(() => {
    expect(state()).toBe("cancelled");
  }, 30_000);
  expect(text("#status")).toBe("Cancelled.");
});
